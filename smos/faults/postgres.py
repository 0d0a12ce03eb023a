"""F20 to F31: databases that come back incomplete, changed, or with other rights than they had."""

from smos.faults.registry import content, fault
from smos.faults.workspace import Workspace


@fault("F22", "A table is missing", "dump", content("table-missing", "attachments"), databases=("chatwoot",))
def table_missing(work: Workspace) -> None:
    """Leave a table out of the dump."""
    work.edit_dump("chatwoot", "DROP TABLE attachments")


@fault("F23", "Rows are missing", "dump", content("rows-missing", "messages"), databases=("chatwoot",))
def rows_missing(work: Workspace) -> None:
    """Lose one row of three thousand."""
    work.edit_dump("chatwoot", "DELETE FROM messages WHERE id = 1500")
