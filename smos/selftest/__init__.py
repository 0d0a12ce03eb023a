"""The built-in SmarterOS: a small, real source that can be backed up and lost on any machine."""
