"""Whether the parts of one backup are of one backup: label, control file, manifest, and the status of transactions.

Looked at before recovery, because recovery covers it up: a server that replays the log takes a missing file of pg_xact
for zeros, and what those transactions had committed is gone without a word. Files are only read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smos.paths import read_part
from smos.physical.store import BaseBackup
from smos.physical.tools import Control
from smos.physical.wal import lsn_text
from smos.verdict import Problem

CONTROL_BYTES = 8192
"""Size of pg_control, whatever it holds (PG_CONTROL_FILE_SIZE)."""
PAGE = 8192
PAGES_PER_FILE = 32
"""Pages in one file of an SLRU (SLRU_PAGES_PER_SEGMENT)."""
MANY = 64
"""Transactions of which at least one has ended, unless they are all savepoints of one that runs."""
LISTED = 6
_ROOM = 1 << 32


@dataclass(frozen=True, slots=True)
class _Kind:
    """One SLRU. per_page: numbers of which one page tells."""

    name: str
    folder: str
    per_page: int


XACT = _Kind("transactions", "pg_xact", PAGE * 4)
MULTI = _Kind("multixacts", "pg_multixact/offsets", PAGE // 4)


def disagreements(backup: BaseBackup, control: Control, data: Path) -> tuple[Problem, ...]:
    """Compare the parts of a fetched backup. Codes: parts-mixed, control-damaged, xact-missing, xact-blank."""
    problems = list(_parts(backup, control))
    try:
        size = (data / "global" / "pg_control").stat().st_size
        if size != CONTROL_BYTES:
            detail = f"{backup.id}: pg_control holds {size} bytes of {CONTROL_BYTES}"
            problems.append(Problem("control-damaged", detail))
        problems += _statuses(backup, control, data)
    except OSError as error:
        problems.append(Problem("backup-unread", f"{backup.id}: {error.filename}: {error.strerror}"))
    return tuple(problems)


def _parts(backup: BaseBackup, control: Control) -> Iterator[Problem]:
    label, manifest = backup.label, backup.manifest
    if label is not None and control.redo < label.start_lsn:
        detail = f"the label begins at {lsn_text(label.start_lsn)}, behind the control file's {lsn_text(control.redo)}"
        yield Problem("parts-mixed", f"{backup.id}: {detail}: it is another backup's")
    if manifest is None or not manifest.ranges:
        return
    begins = min(start for _, start, _ in manifest.ranges)
    ends = max(end for _, _, end in manifest.ranges)
    if label is not None and begins != label.start_lsn:
        detail = f"the manifest begins at {lsn_text(begins)}, the label at {lsn_text(label.start_lsn)}"
        yield Problem("parts-mixed", f"{backup.id}: {detail}")
    if control.redo > ends:
        detail = (
            f"the control file is of {lsn_text(control.redo)}, after the backup's end at {lsn_text(ends)}"
        )
        yield Problem("parts-mixed", f"{backup.id}: {detail}")
    if manifest.system_identifier not in {None, control.system_identifier}:
        yield Problem(
            "parts-mixed", f"{backup.id}: the control file is another cluster's than the manifest's"
        )


def _statuses(backup: BaseBackup, control: Control, data: Path) -> Iterator[Problem]:
    """Look whether the statuses are there that must be.

    Of a control file that was written after the backup began, nobody knows how much had been assigned when pg_xact was
    copied; then only the oldest page is sure.
    """
    whole = backup.label is not None and control.redo == backup.label.start_lsn
    for kind, oldest, following in (
        (XACT, control.oldest_xid, control.next_xid),
        (MULTI, control.oldest_multi, control.next_multi),
    ):
        if oldest == following:
            continue
        last = (following - 1) % _ROOM if whole else oldest
        found = list(_lost(kind, oldest, last, data))
        for code, detail in found[:LISTED]:
            yield Problem(code, f"{backup.id}: {detail}")
        if len(found) > LISTED:
            yield Problem(found[LISTED][0], f"{backup.id}: {len(found) - LISTED} more of {kind.folder}")


def _lost(kind: _Kind, oldest: int, last: int, data: Path) -> Iterator[tuple[str, str]]:
    """Yield (code, words) for each file that is missing or short, and each page of transactions that tells of none.

    Raises OSError for what is no regular file.
    """
    all_pages = _ROOM // kind.per_page
    first, count = oldest // kind.per_page, (last // kind.per_page - oldest // kind.per_page) % all_pages + 1
    # A control file may name any range, so the pages of each file are counted once (there may be two million).
    wanted_of: dict[int, list[int]] = {}
    for step in range(count):
        number, page = divmod((first + step) % all_pages, PAGES_PER_FILE)
        wanted_of.setdefault(number, []).append(page)
    for number, wanted in wanted_of.items():
        try:
            content = read_part(data / kind.folder / f"{number:04X}", PAGES_PER_FILE * PAGE)
        except FileNotFoundError:
            yield (
                "xact-missing",
                f"{kind.folder}/{number:04X} is missing, and {kind.name} from {oldest} on are needed",
            )
            continue
        if len(content) < (max(wanted) + 1) * PAGE:
            detail = f"{kind.folder}/{number:04X} holds {len(content)} bytes of {(max(wanted) + 1) * PAGE}"
            yield "xact-missing", f"{detail}, which {kind.name} up to {last} need"
            continue
        for page in wanted if kind is XACT else ():
            begin = (number * PAGES_PER_FILE + page) * kind.per_page
            low = max(oldest - begin, 0) if begin <= oldest < begin + kind.per_page else 0
            high = last - begin + 1 if begin <= last < begin + kind.per_page else kind.per_page
            told = content[page * PAGE + low // 4 : page * PAGE + (high + 3) // 4]
            if high - low >= MANY and not told.strip(b"\0"):
                detail = f"of the {high - low} transactions from {begin + low} on none has ended"
                yield "xact-blank", f"{kind.folder}/{number:04X}: {detail}"
