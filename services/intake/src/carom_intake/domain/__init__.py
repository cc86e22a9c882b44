"""What a valid job is, and what a client is shown of it. Pure."""
