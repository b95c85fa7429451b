"""What a run has to tell: manifest, page, card."""
