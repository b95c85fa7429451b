"""User texts: sources, and what must not be among them."""
