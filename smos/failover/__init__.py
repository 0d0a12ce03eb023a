"""Failover drills: a primary is lost under load, another takes over, and the client's own ledger says what was lost."""
