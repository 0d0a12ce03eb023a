"""Named ways in which reality can be broken, for the negative controls."""
