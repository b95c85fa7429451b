"""Other forms of a checkpoint: for other programs, and for the hub."""
