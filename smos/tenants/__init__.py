"""Tenants of the platform: one row in PostgreSQL, one secret path, policy and AppRole in Vault; all of them or none."""
