"""Faults of the Vault suite."""
