"""The leaderboard: lm-eval result folders -> one static page that people publish."""
