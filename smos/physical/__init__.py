"""Physical backups of PostgreSQL: making them, reading what others made, recovering them to a moment in a sandbox."""
