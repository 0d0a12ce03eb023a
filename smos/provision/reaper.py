"""Finds what a killed run left behind (its guard killed too) and removes it. Never touches what isn't ours.

Every run has `<id>.json` (what it owns) and `<id>.lock` (held by its guard as long as that lives) in the
registry, a directory only this user can write. Whoever gets the lock knows that the guard is dead. A recorded
process is killed only when its pid *and* its start are the recorded ones, in the same boot and pid namespace;
a stray child of a dead server only when it runs the recorded program inside a recorded directory.
"""

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smos.errors import DeadlineError
from smos.provision.guard import (
    boot_id,
    descendants,
    forget,
    pid_namespace,
    process_start,
    remove_tree,
    send_signal,
)
from smos.wait import wait_for

VANISH_S = 30.0
"""Seconds that killed processes may take to vanish."""


def reap(registry: Path) -> tuple[str, ...]:
    """Remove what dead runs recorded in `registry`; return the ids of the runs that were removed.

    A run whose directories can't be removed stays recorded and is tried again by the next one.
    """
    removed = []
    for record_path in sorted(registry.glob("r*.json")):
        with _dead_run(record_path) as record:
            if record is not None and _remove(record):
                forget(record_path)
                removed.append(str(record["id"]))
    return tuple(removed)


@contextlib.contextmanager
def _dead_run(record_path: Path) -> Iterator[dict[str, Any] | None]:
    """Give the record of a run whose guard is dead, holding its lock; None when it lives or is unreadable."""
    try:
        lock = os.open(record_path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield None
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            record = json.loads(record_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # its guard lives, another run removes it now, or it isn't ours
            record = None
        yield record if isinstance(record, dict) and record.get("id") == record_path.stem else None
    finally:
        os.close(lock)


def _remove(record: dict[str, Any]) -> bool:
    directories = [Path(path) for path in record["directories"] if Path(path).name == record["id"]]
    try:
        if record["boot"] == boot_id() and record["pid_namespace"] == pid_namespace():
            wait_for(
                lambda: not _kill(record, directories),
                what=f"the processes of the dead run {record['id']} are gone",
                deadline_s=VANISH_S,
            )
        for directory in reversed(directories):
            remove_tree(directory)
    except (DeadlineError, OSError):  # a process in uninterruptible sleep, a busy mount: the next run tries
        return False
    return True


def _kill(record: dict[str, Any], directories: list[Path]) -> bool:
    """Kill what still runs of the run; True when there was something."""
    found: set[int] = set()
    for process in record["processes"]:
        pid = int(process["pid"])
        if process["start"] and process_start(pid) == process["start"]:
            found |= {pid, *descendants(pid)}
    programs = {process["exe"] for process in record["processes"]}
    found |= set(_strays(programs, directories))
    for pid in found:
        send_signal(pid, signal.SIGKILL)
    return bool(found)


def _strays(programs: set[str], directories: list[Path]) -> Iterator[int]:
    """Find processes that run one of `programs` with their working directory inside `directories`."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            program = str((entry / "exe").readlink())
            place = (entry / "cwd").readlink()
        except OSError:  # gone, or another user's: not ours
            continue
        if program in programs and any(place.is_relative_to(directory) for directory in directories):
            yield int(entry.name)
