"""What a run leaves for people who were not there."""
