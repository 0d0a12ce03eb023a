"""Faults of failovers: commits that are lost, fences that are left out, standbys that do not come back."""
