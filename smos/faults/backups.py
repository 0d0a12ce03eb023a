"""F01 to F17: a backup set that is missing, late, cut, changed, forged or encrypted."""

from smos.faults.registry import caught, everywhere, fault
from smos.faults.workspace import Workspace


@fault(
    "F01a",
    "A database is missing from the newest set",
    "backup set",
    caught("DR-01", "missing-database", "chatwoot"),
    caught("DR-02", "missing-artifact", "databases/chatwoot"),
    caught("DR-03", "database-missing", "chatwoot"),
    databases=("chatwoot", "n8n"),
)
def database_missing(work: Workspace) -> None:
    """Leave out what the job skipped."""
    work.drop(work.path("databases/chatwoot"))


@fault(
    "F02", "A day is missing in the sequence", "schedule", caught("DR-01", "gap-in-sequence", "without one")
)
def day_missing(work: Workspace) -> None:
    """Skip a night."""
    work.drop(work.sets[3])


@fault(
    "F11",
    "A compressed volume archive is cut",
    "bytes",
    *everywhere("DR-02", ("compression-truncated", "compression-corrupt"), "odoo-web-data.tar.zst"),
)
def archive_cut(work: Workspace) -> None:
    """Break the transfer off."""
    path = work.path("volumes/odoo-web-data.tar.zst")
    work.replace(path, path.read_bytes()[:-200])
