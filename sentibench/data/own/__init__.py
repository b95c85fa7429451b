"""People's own tasks: their cards, their tables, and how a card is written."""
