"""From samples to a checkpoint, and its scores."""
