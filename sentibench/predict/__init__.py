"""Using a model: labels for people's own texts, exports for other programs, the hub."""
