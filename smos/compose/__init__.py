"""Compose files as data: what they say with their defaults, rendered by Compose itself, and how hardened it is."""
