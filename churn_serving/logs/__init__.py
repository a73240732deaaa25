"""What the service writes down: scored rows, requests, and its own words."""
