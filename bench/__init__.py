"""Measurements against named peers in the same run: `make bench`. Ratios count, single seconds do not."""
