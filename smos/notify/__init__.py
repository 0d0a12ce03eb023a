"""Tells people how a run ended. A message that can't be sent is a failure of its own; the evidence stays as it is."""
