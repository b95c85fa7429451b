"""The page: what it shows, and how."""
