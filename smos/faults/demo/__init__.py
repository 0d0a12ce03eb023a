"""Faults of the demo's checks, and the copy of the demo that each one breaks."""
