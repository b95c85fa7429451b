"""What the leaderboard's page and a distillation run's page and card are made with."""
