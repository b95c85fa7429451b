"""Models that answer a question about a text with a probability for each label, behind a server."""
