"""What is measured: cards, files, gold items."""
