"""Telling people: what is said, through which channels, and what has been said already. Knows nothing of Dagster."""
