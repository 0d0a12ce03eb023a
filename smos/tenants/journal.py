"""What a change is about to make, written before it is made: a killed run's half is found and undone by the next.

One file for each tenant in the configuration's directory; synced before the step that it announces.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smos.errors import SmosError
from smos.evidence.files import write_atomic


@dataclass(frozen=True, slots=True)
class Entry:
    """A change that has begun. pid: of the process that makes it. made: parts that it may have made."""

    tenant: str
    pid: int
    made: tuple[str, ...]


class Journal:
    """The changes that have begun and not ended."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def announce(self, tenant: str, made: tuple[str, ...]) -> None:
        """Say what is made next, in all. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        document = {"tenant": tenant, "pid": os.getpid(), "made": list(made)}
        write_atomic(self._path(tenant), json.dumps(document).encode())

    def close(self, tenant: str) -> None:
        """Say that the change has ended, whole or undone."""
        self._path(tenant).unlink(missing_ok=True)

    def abandoned(self) -> Iterator[Entry]:
        """Yield the changes whose process is gone. Raises SmosError for a file that can't be read."""
        for path in sorted(self._directory.glob("tenant-*.json")):
            try:
                document = json.loads(path.read_bytes())
                entry = Entry(str(document["tenant"]), int(document["pid"]), tuple(document["made"]))
            except FileNotFoundError:
                continue  # its run has just ended
            except (OSError, ValueError, KeyError, TypeError):
                raise SmosError(
                    f"{path} can't be read: what an interrupted run left half made is not known",
                    remedy="compare `smos tenants info` of that tenant, then remove the file",
                ) from None
            if not _alive(entry.pid):
                yield entry

    def _path(self, tenant: str) -> Path:
        return self._directory / f"tenant-{tenant}.json"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()
