"""A run: its steps, their order, what is done and what is not."""
