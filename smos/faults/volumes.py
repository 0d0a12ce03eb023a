"""Faults of volumes."""
