"""Unlisted damage: backups broken at random, and an oracle of its own that says whether it mattered.

Add a step: one function in the module of its level. Add a level: a module, and its name here.
"""

LEVELS = (
    "files", "sets", "manifests", "databases", "plain-dumps", "directory-dumps", "dump-contents", "dump-options",
    "globals", "volumes", "archives", "vaults",
    "envelopes",
)  # fmt: skip
"""Names of the levels, cheap to import; `levels.by_name` has what they do."""
