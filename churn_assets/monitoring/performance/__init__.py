"""Whether what the model said came true, once that is known; and what its scores promise until then."""
