"""Drivers of the observability suite: they send, break, wait and count, and record facts. Judges are elsewhere."""
