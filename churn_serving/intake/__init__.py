"""From a request's bytes to rows that a model can score, or to a refusal that says what is wrong."""
