"""Other forms of a checkpoint: for other programs, for the hub, and back from GGUF."""
