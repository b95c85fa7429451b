"""Models behind a server that give a probability for each label."""
