"""Using a model: labels for people's own texts, with calibrated probabilities."""
