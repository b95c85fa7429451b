"""What an answer is worth: parsing, metrics, and everything statistical."""
