"""Whether yesterday's answer can still be trusted: drift, score proxy, performance."""
