"""A PostgreSQL that recovers a fetched backup and obeys nothing that the backup brought.

Its configuration is ours, given on the command line; `postgresql.auto.conf` and every signal of another are taken out
first. A physical backup also carries what databases and roles were told to load (`ALTER DATABASE … SET
session_preload_libraries`): every session of ours overrides that, and what runs by itself (autovacuum, logical
replication) is off. It has no network where the system can cut it, archives nowhere, and is destroyed.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from smos.errors import DeadlineError, ProvisionError
from smos.instant import InstantTree
from smos.physical.tools import Control
from smos.provision.base import PostgresEndpoint
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import PostgresInstallation
from smos.provision.owner import Owner
from smos.provision.reach import ways_out
from smos.wait import wait_for

DEFUSED = (
    "postgresql.auto.conf",
    "recovery.signal",
    "standby.signal",
    "recovery.conf",
    "postmaster.pid",
    "postmaster.opts",
)
"""Files of the backup that a server would obey or stumble over."""
LISTENED: tuple[str, ...] = (
    "archive_command",
    "archive_library",
    "archive_mode",
    "primary_conninfo",
    "session_preload_libraries",
    "shared_preload_libraries",
)
"""Settings that are read back from the running sandbox: each must be off."""
_SESSION = {
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "search_path": "pg_catalog,pg_temp",  # else a function of the backup's could answer for one of the server's
    "role": "none",
    "session_replication_role": "origin",
    "row_security": "off",
    "zero_damaged_pages": "off",  # these two hide damage
    "ignore_checksum_failure": "off",
    "datestyle": "ISO,YMD",
    "timezone": "UTC",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "log_statement": "none",  # the log of the sandbox is kept: no values into it
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",
}
"""What every session of ours overrides, because a role or a database of the backup may have set it."""
SESSION = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
_LOCKED_OUT = (
    "is not permitted to log in",
    "is not currently accepting connections",
    'database "template1" does not exist',
    "too many connections for",
)
"""Words of a server that is up and will never let us in."""
_COMING_UP = ("the database system is", "No such file or directory", "Connection refused", "timeout expired")
"""Words of a server that is on its way, however long that takes."""
REFUSALS = 20
"""Other refusals in a row after which it is not: a catalogue that is damaged refuses every session."""


class SuperuserError(ProvisionError):
    """The recovered cluster does not let in the superuser that the target names."""


@dataclass(frozen=True, slots=True)
class GuardedEndpoint(PostgresEndpoint):
    """An endpoint whose sessions override what databases and roles of the backup say."""

    def session(self) -> str:
        """Return the options of every session."""
        newer = " -c event_triggers=off -c transaction_timeout=0" if self.version_num >= 170000 else ""
        return SESSION + newer

    def conninfo(self, dbname: str = "postgres", user: str | None = None, **options: Any) -> str:
        """Return the connection string, with the guard's options."""
        return PostgresEndpoint.conninfo(self, dbname, user, options=self.session(), **options)


def settings_for(installation: PostgresInstallation, control: Control | None) -> dict[str, str]:
    """Return what a recovering sandbox runs with, before goal and restore command."""
    values = {
        "autovacuum": "off",
        "fsync": "off",  # it lives for one drill
        "full_page_writes": "off",
        "hot_standby": "off",  # it answers when it is recovered, not before
        "lc_messages": "C",
        "local_preload_libraries": "",
        "log_timezone": "UTC",
        "max_logical_replication_workers": "0",
        "max_wal_senders": "0",
        "max_parallel_workers": "0",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "recovery_target_action": "promote",
        "recovery_target_timeline": "latest",
        "session_preload_libraries": "",
        "timezone": "UTC",
    }
    if installation.major >= 15:
        values["archive_library"] = ""
    if installation.major >= 17:
        values |= {"event_triggers": "off", "sync_replication_slots": "off", "summarize_wal": "off"}
    if control is not None:
        values["max_prepared_transactions"] = str(max(control.prepared, 0))
        values["max_locks_per_transaction"] = str(max(control.locks, 64))
    return values


def brought_by(data: Path) -> tuple[str, ...]:
    """Return the names of the settings that a backup's postgresql.auto.conf brings; it is never obeyed."""
    auto = data / "postgresql.auto.conf"
    if not auto.is_file() or auto.is_symlink():
        return ()
    lines = auto.read_text(encoding="utf-8", errors="replace").splitlines()
    names = (
        line.partition("=")[0].strip() for line in lines if "=" in line and not line.lstrip().startswith("#")
    )
    return tuple(sorted({name[:63] for name in names if re.fullmatch(r"[A-Za-z_][\w.]*", name)}))


def defuse(data: Path) -> None:
    """Take out of a data directory what a server would obey or stumble over."""
    for name in DEFUSED:
        path = data / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    slots = data / "pg_replslot"
    if (
        slots.is_dir() and not slots.is_symlink()
    ):  # a slot of the source would hold back the log, or stop the start
        for slot in slots.iterdir():
            if slot.is_dir() and not slot.is_symlink():
                shutil.rmtree(slot)
            else:
                slot.unlink()


def defuse_view(tree: InstantTree) -> None:
    """Take the same out of the sandbox's view of a backup; the backup stays as it is."""
    for name in (*DEFUSED, "tablespace_map"):  # the links are right already
        tree.remove(name)
    tree.empty("pg_replslot")


class SandboxPostgres(EmbeddedPostgres):
    """A recovering server. `start` returns when it has reached its goal and answers as a primary."""

    def __init__(
        self,
        owner: Owner,
        *,
        name: str,
        installation: PostgresInstallation,
        settings: Mapping[str, str],
        data_dir: Path,
        superuser: str,
        launcher: Sequence[str] = (),
    ) -> None:
        super().__init__(
            owner,
            name=name,
            installation=installation,
            settings=settings,
            no_network=True,
            superuser=superuser,
            data_dir=data_dir,
            launcher=launcher,
        )

    @property
    def endpoint(self) -> GuardedEndpoint:
        """Where it is reached."""
        plain = super().endpoint
        return GuardedEndpoint(
            host=plain.host, port=plain.port, superuser=plain.superuser, version_num=plain.version_num
        )

    def ways_out(self) -> tuple[str, ...] | None:
        """Return the devices that lead out of where it runs; None where it does not run or nobody tells."""
        return ways_out(self._process.pid) if self._process is not None else None

    def start(self, timeout_s: float = 60) -> None:
        """Recover. Raises ProvisionError when the server ends or refuses the login, DeadlineError when it is late."""
        self._configure()
        self._process = process = self._launch()
        self._isolation = process.isolation

        turned_away: list[bool] = []

        def answers() -> bool:
            if (code := process.poll()) is not None:
                raise ProvisionError(
                    f"PostgreSQL ended while it recovered (exit code {code})",
                    remedy="the reason is in the log below",
                    log=process.log_tail(),
                )
            try:
                with psycopg.connect(self.endpoint.conninfo("template1", connect_timeout=5)) as connection:
                    row = connection.execute("SELECT NOT pg_is_in_recovery()").fetchone()
                    return row == (True,)
            except psycopg.OperationalError as error:
                if "does not exist" in str(error) and "role" in str(error):
                    raise SuperuserError(
                        f"The recovered cluster has no role {self.endpoint.superuser!r}",
                        remedy="name its superuser in the target: physical.superuser",
                    ) from error
                if any(words in str(error) for words in _LOCKED_OUT):
                    raise SuperuserError(
                        f"The recovered cluster does not let {self.endpoint.superuser!r} in (database template1)",
                        remedy="name a superuser that may log in (physical.superuser) and connect to template1",
                    ) from error
                refused = not any(words in str(error) for words in _COMING_UP)
                turned_away.append(refused)
                if len(turned_away) >= REFUSALS and all(turned_away[-REFUSALS:]):
                    raise ProvisionError(
                        "PostgreSQL is up and nobody can enter template1",
                        remedy="the reason is in the log below",
                        log=process.log_tail(),
                    ) from error
                raise

        try:
            wait_for(
                answers,
                what="PostgreSQL has recovered and answers",
                deadline_s=timeout_s,
                transient=(psycopg.OperationalError,),
                on_timeout=process.log_tail,
            )
        except (DeadlineError, ProvisionError):
            process.kill()
            raise
