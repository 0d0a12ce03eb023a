"""What the kernel tells of a server's process (Linux): its user, its core limit, what of it lies in swap."""

import re
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """None: the kernel does not tell (another system, or no right to look).

    uid: real, effective and saved user. core_bytes: the hard limit of a core dump, -1 without one.
    capabilities: the effective ones, as a mask. swapped_bytes: of this process; swap_bytes: of the machine.
    """

    uids: tuple[int, ...] | None = None
    core_bytes: int | None = None
    capabilities: int | None = None
    swapped_bytes: int | None = None
    swap_bytes: int | None = None


def read_process(pid: int, proc: Path = PROC) -> ProcessFacts:
    """Read what is told of one process; never raises for what isn't told."""
    status = _text(proc / str(pid) / "status")
    limits = _text(proc / str(pid) / "limits")
    uids = re.search(r"^Uid:\s+(.+)$", status, re.MULTILINE)
    core = re.search(r"^Max core file size\s+\S+\s+(\S+)", limits, re.MULTILINE)
    mask = re.search(r"^CapEff:\s+([0-9a-f]+)$", status, re.MULTILINE)
    return ProcessFacts(
        uids=tuple(map(int, uids[1].split()[:3])) if uids else None,
        core_bytes=(-1 if core[1] == "unlimited" else int(core[1])) if core else None,
        capabilities=int(mask[1], 16) if mask else None,
        swapped_bytes=_kilobytes(status, "VmSwap"),
        swap_bytes=_kilobytes(_text(proc / "meminfo"), "SwapTotal"),
    )


def _kilobytes(text: str, name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
