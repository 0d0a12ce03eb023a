"""Faults of the row-security prober: sound schemas of several styles, and the ways to break them."""
