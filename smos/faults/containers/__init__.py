"""Faults of containers: what they are created with, what they are asked, and what strikes them."""
