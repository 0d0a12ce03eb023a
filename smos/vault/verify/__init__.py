"""Drivers of the Vault suite: ask a real server and record what it answered. Judges: smos/checks/vault."""
