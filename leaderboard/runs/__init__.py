"""From result folders to rows: what was run, who the models are, which runs belong together."""
