"""Run a PostgreSQL on a physical backup itself, copy-on-write: nothing is copied first, the backup is not changed.

`start_instant` is the entrance; `open_instant` gives the tree alone, for whoever starts the server himself.
"""

from smos.instant.clone import InstantFacts, InstantTree, Level, UntouchedFacts, open_instant
from smos.instant.server import INSTANT_SETTINGS, InstantServer, start_instant

__all__ = [
    "INSTANT_SETTINGS",
    "InstantFacts",
    "InstantServer",
    "InstantTree",
    "Level",
    "UntouchedFacts",
    "open_instant",
    "start_instant",
]
