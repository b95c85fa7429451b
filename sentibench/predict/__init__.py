"""Using a model: labels for people's own texts, in files and from Python, and other forms of it."""
