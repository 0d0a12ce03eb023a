"""The labels by which a container, a network or a volume is known to be ours, and by which owner of which process.

Standard library only: the watchdog reads them too, and it runs without any package. What lacks one of these labels,
or has one that can't be ours, belongs to somebody else and is never touched.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smos.provision.guard import boot_id, pid_namespace, process_start

PREFIX = "cl.smarterbot.verify"
OWNER, PID, START = f"{PREFIX}.owner", f"{PREFIX}.pid", f"{PREFIX}.start"
BOOT, PIDS, MACHINE = f"{PREFIX}.boot", f"{PREFIX}.pid-namespace", f"{PREFIX}.machine"
ROLE = f"{PREFIX}.role"
_OWNER_ID = re.compile(r"r[0-9a-f]{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose an object is. owner: id of the `Owner`. pid, start: of its process, as the system counts them.

    boot, pids, machine: the boot, the pid namespace and the machine in which that pid means something.
    """

    owner: str
    pid: int
    start: str
    boot: str
    pids: str
    machine: str

    def labels(self, role: str) -> dict[str, str]:
        """Return the labels of an object of this owner's. role: what it is for, in a word."""
        return {
            OWNER: self.owner,
            PID: str(self.pid),
            START: self.start,
            BOOT: self.boot,
            PIDS: self.pids,
            MACHINE: self.machine,
            ROLE: role,
        }

    def is_dead(self) -> bool:
        """Whether the process that owned it has certainly ended; where that can't be told from here, it has not."""
        here = identity(self.owner, self.pid)
        if self.machine != here.machine:
            return False
        if self.boot != here.boot:
            return bool(self.machine)  # the machine was started anew since, and nothing lives on
        return self.pids == here.pids and self.start != here.start


def identity(owner: str, pid: int) -> Identity:
    """Return the identity of an owner in the process `pid`, which may have ended (`start` is empty then)."""
    return Identity(
        owner=owner,
        pid=pid,
        start=process_start(pid),
        boot=boot_id(),
        pids=pid_namespace(),
        machine=_machine(),
    )


def read_identity(labels: Mapping[str, str] | None) -> Identity | None:
    """Return whose an object with these labels is; None: not one of ours."""
    found = labels or {}
    owner, pid, start = found.get(OWNER, ""), found.get(PID, ""), found.get(START, "")
    whole = all(name in found for name in (BOOT, PIDS, MACHINE, ROLE))
    if not (whole and _OWNER_ID.fullmatch(owner) and pid.isascii() and pid.isdecimal() and start):
        return None
    return Identity(
        owner=owner,
        pid=int(pid),
        start=start,
        boot=found[BOOT],
        pids=found[PIDS],
        machine=found[MACHINE],
    )


def _machine() -> str:
    """Return what tells this machine from others that may share an engine; empty where the system has nothing."""
    try:
        return Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
