"""The report of a run: manifest, page, model card."""
