"""Many models, tasks and seeds into one result folder, unit by unit, with several processes."""
