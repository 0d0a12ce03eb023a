"""Faults of vault."""
