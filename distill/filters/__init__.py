"""Which answers are dropped, since they are wrong or unusable, and which are mended."""
