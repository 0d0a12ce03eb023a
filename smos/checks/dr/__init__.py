"""Judges of the disaster-recovery checks: pure functions from what a drill recorded to findings."""
