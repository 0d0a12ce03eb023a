"""What a target file says about physical backups. A model only; smos/target.py puts it into the target."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
"""A name that becomes part of paths and arguments."""


class Physical(BaseModel):
    """Physical backups of one PostgreSQL cluster, which `pytest -m pitr` recovers to a moment (docs/pitr.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["plain", "pgbackrest", "barman"] = "plain"
    path: Path
    """plain: a base backup or a directory of them; pgbackrest: the repository; barman: the barman_home."""
    wal: Path | None = None
    """plain: the archive of the log; None: `wal` below the path, where there is one."""
    stanza: Word | None = None
    """pgbackrest: the stanza; barman: the server's name. None: the only one that is there."""
    passphrase_file: Path | None = None
    """pgbackrest: file (0600) with the passphrase of an encrypted repository (repo1-cipher-pass), kept elsewhere."""
    moment: AwareDatetime | None = None
    """Recover to this moment, written with its zone; None: to one between two heartbeats."""
    restore_mode: Literal["full", "instant"] = "full"
    """full: every byte is copied, which shows how long a recovery takes; instant: recovered on the backup itself,
    copy-on-write, where kind, form and system allow it (docs/restore-modes.md)."""
    superuser: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")] = (
        "postgres"
    )
    """A superuser of the cluster."""
