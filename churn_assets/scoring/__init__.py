"""From today's features to a list of who is about to leave, and why."""
