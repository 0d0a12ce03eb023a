"""Faults of hostile."""
