"""Vault and OpenBao: set-up, snapshots, recovery."""
