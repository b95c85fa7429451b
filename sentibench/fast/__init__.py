"""The fast local model: labels and greedy answers with less work and the same numbers."""
