"""Faults of the observability suite."""
