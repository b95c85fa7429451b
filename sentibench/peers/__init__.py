"""Methods that are not language models: what the leaderboard reads of them."""
