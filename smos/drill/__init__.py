"""One recovery exercise: its phases, its sandbox, its record."""
