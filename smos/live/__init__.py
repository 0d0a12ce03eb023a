"""Hosts that exist already: asked and read, never changed."""
