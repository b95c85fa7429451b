"""A checkpoint behind HTTP: labels and decisions with probabilities, many clients at once."""
