"""Backups: how they are made, found, described and inspected."""
