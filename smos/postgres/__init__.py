"""What a PostgreSQL database holds, and whether two of them hold the same."""
