"""Unlisted damage: backups broken at random, and an oracle of its own that says whether it mattered."""
