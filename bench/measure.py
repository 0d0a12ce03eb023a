"""How everything is measured: wall time on the monotonic clock, cold files, medians, ratios, and the machine."""

import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from smos.clock import SystemClock

RUNS = 3
PIPE = "\\|"


@dataclass(slots=True)
class Table:
    """One comparison: seconds of each run, and a remark, for everything that was measured. `reference` has ratio 1."""

    title: str
    reference: str
    rows: dict[str, list[float]] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, seconds: float, remark: str = "") -> None:
        """Add one run."""
        self.rows.setdefault(what, []).append(seconds)
        if remark:
            self.remarks[what] = remark
        print(f"  {what:<58} {seconds:8.2f} s  {remark}", flush=True)

    def lack(self, what: str, why: str) -> None:
        """Say that a peer could not be measured."""
        self.missing[what] = why
        print(f"  {what:<58} missing: {why}", flush=True)

    def median(self, what: str) -> float:
        """Return the median of its runs."""
        return statistics.median(self.rows[what])

    def markdown(self) -> str:
        """Return the table; a `|` in a name is written so that it does not end the cell."""
        base = self.median(self.reference) if self.reference in self.rows else 0.0
        lines = [f"### {self.title}", "", "| what | median s | runs | ratio | |", "|---|---|---|---|---|"]
        for what, seconds in self.rows.items():
            ratio = f"{self.median(what) / base:.2f}" if base else ""
            runs = ", ".join(f"{second:.2f}" for second in seconds)
            name = what.replace("|", PIPE)
            lines.append(
                f"| {name} | {self.median(what):.2f} | {runs} | {ratio} | {self.remarks.get(what, '')} |"
            )
        lines += [f"| {what} | missing | | | {why} |" for what, why in self.missing.items()]
        return "\n".join(lines) + "\n"


def timed(work: Callable[[], object]) -> float:
    """Return the wall time in seconds."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def processor_seconds(root: int) -> float:
    """Return what a process and all below it have used so far, what has ended included. Linux only.

    On a busy machine it says more than wall time does. Looked at twice: what ends during a look is missed.
    """
    return max(_processor_seconds(root), _processor_seconds(root))


def _processor_seconds(root: int) -> float:
    tick = os.sysconf("SC_CLK_TCK")
    parents: dict[int, int] = {}
    used: dict[int, tuple[int, int, int, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile: its parent has its time
            continue
        number = int(path.parent.name)
        parents[number] = int(fields[1])
        used[number] = (int(fields[11]), int(fields[12]), int(fields[13]), int(fields[14]))

    def below(number: int | None) -> bool:
        while number is not None and number != root:
            number = parents.get(number)
        return number == root

    return sum(sum(used[number]) for number in used if below(number)) / tick


def chill(paths: Iterable[Path]) -> None:
    """Have the system forget these files and what is below these directories, as after days without a restore."""
    for root in paths:
        for path in (root, *root.rglob("*")) if root.is_dir() else (root,):
            if path.is_file() and not path.is_symlink():
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(handle)


def machine() -> str:
    """Return one line that says where and under which load this was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    loads = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    space = shutil.disk_usage("/tmp").free / 2**30  # noqa: S108  (only looked at)
    return (
        f"{SystemClock().now():%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {memory:.0f} GiB, Linux"
        f" {platform.release()}, {space:.0f} GiB free, load average {loads}"
    )
