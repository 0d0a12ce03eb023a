"""A sandbox server on a copy-on-write tree: settings that write as little as possible, and the start."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smos.errors import BackupError
from smos.instant.clone import ALL_LEVELS, InstantTree, Level, open_instant
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import PostgresInstallation, choose_installation
from smos.provision.owner import Owner

INSTANT_SETTINGS: Mapping[str, str] = {
    # With fsync the server opens every file for writing when it starts, and an overlay copies each of them.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_recycle": "off",
    "wal_init_zero": "off",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "autovacuum": "off",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "primary_conninfo": "",
}
"""The sandbox is thrown away: nothing of it must survive a crash. Recovery as a standby needs other settings."""
FOREIGN = ("postmaster.pid", "postmaster.opts", "postgresql.auto.conf", "standby.signal")
"""What a backup says of the server that it was taken from; none of it is for the sandbox."""


@dataclass(frozen=True, slots=True)
class InstantServer:
    """A running server, and the tree that it runs on."""

    server: EmbeddedPostgres
    tree: InstantTree


def start_instant(
    owner: Owner,
    backup: Path,
    *,
    name: str,
    superuser: str = "postgres",
    installation: PostgresInstallation | None = None,
    settings: Mapping[str, str] | None = None,
    linked: Mapping[str, Path] | None = None,
    levels: tuple[Level, ...] = ALL_LEVELS,
    near: Path | None = None,
    no_network: bool = True,
    timeout_s: float = 600,
) -> InstantServer:
    """Start a server on the data directory in `backup` and return when it answers: recovered to the end of its WAL.

    superuser: of the backup's cluster. installation: default: one of the backup's major version. settings: above
    INSTANT_SETTINGS. linked, levels, near: see open_instant. timeout_s: seconds for recovery.
    Raises what open_instant raises, and ProvisionError with the end of the server's log.
    """
    tree = open_instant(owner, backup, name=name, linked=linked, levels=levels, near=near)
    for file in FOREIGN:
        tree.remove(file)
    server = EmbeddedPostgres(
        owner,
        name=name,
        installation=installation or choose_installation(major=major_of(tree)),
        settings={**INSTANT_SETTINGS, **(settings or {})},
        no_network=no_network,
        superuser=superuser,
        data_dir=tree.path,
        launcher=tree.launcher,
    )
    server.start(timeout_s)
    return InstantServer(server, tree)


def major_of(tree: InstantTree) -> int:
    """Return the major version that the tree was made by. Raises BackupError."""
    text = (tree.read("PG_VERSION", 16) or b"").decode(errors="replace").strip()
    if not re.fullmatch(r"[1-9][0-9]", text):
        raise BackupError(
            "PG_VERSION holds no major version of PostgreSQL", remedy="look for a damaged backup"
        )
    return int(text)
