"""Faults of the disaster-recovery checks, and the workshop in which a copy of a backup is broken."""
