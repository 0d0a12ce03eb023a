"""Servers in containers: the same typed endpoints as the embedded ones, owned and removed in the same way."""
