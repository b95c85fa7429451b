"""Which answers a student learns from."""
