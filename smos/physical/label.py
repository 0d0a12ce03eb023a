"""What a base backup says of itself: `backup_label`, and the head of `backup_manifest`. Untrusted text, bounded."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from smos.physical.wal import lsn_number

LONGEST_LABEL = 64 << 10
LONGEST_MANIFEST = 512 << 20
_START = re.compile(r"START WAL LOCATION: ([0-9A-F]+/[0-9A-F]+) \(file ([0-9A-F]{24})\)")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\S+)")
_OFFSET = re.compile(r"([+-])(\d\d)(?::?(\d\d))?")


class LabelError(ValueError):
    """The label or manifest can't be read as one; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """backup_label. started: None where its zone is an abbreviation that means several; `time_text` is what it says.

    parent_lsn, parent_timeline: of the backup that an incremental one (PostgreSQL 17+) builds on; None: a full one.
    """

    start_lsn: int
    start_segment: str
    timeline: int
    started: datetime | None
    time_text: str
    method: str
    from_standby: bool
    parent_lsn: int | None = None
    parent_timeline: int | None = None


def read_label(text: str) -> Label:
    """Read a backup_label. Raises LabelError."""
    lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    start = _START.match(text)
    if start is None:
        raise LabelError("it names no start in the write-ahead log")
    try:
        parent = lines.get("INCREMENTAL FROM LSN")
        return Label(
            start_lsn=lsn_number(start[1]),
            start_segment=start[2],
            timeline=int(
                lines.get("START TIMELINE") or start[2][:8], 10 if "START TIMELINE" in lines else 16
            ),
            started=read_moment(lines.get("START TIME", "")),
            time_text=lines.get("START TIME", "")[:60],
            method=lines.get("BACKUP METHOD", "")[:40],
            from_standby=lines.get("BACKUP FROM") == "standby",
            parent_lsn=None if parent is None else lsn_number(parent),
            parent_timeline=int(lines["INCREMENTAL FROM TLI"]) if "INCREMENTAL FROM TLI" in lines else None,
        )
    except ValueError as error:
        raise LabelError(str(error)) from None


def read_moment(text: str) -> datetime | None:
    """Return a moment as PostgreSQL writes it, in UTC; None where it can't be told (CET, CLT, EST mean several)."""
    found = _TIME.match(text)
    if found is None:
        return None
    zone = found[2]
    if zone in {"UTC", "GMT", "Z"}:
        offset = timedelta(0)
    elif (parts := _OFFSET.fullmatch(zone)) is not None:
        offset = timedelta(hours=int(parts[2]), minutes=int(parts[3] or 0)) * (1 if parts[1] == "+" else -1)
    else:
        return None
    try:
        return datetime.fromisoformat(found[1]).replace(tzinfo=timezone(offset)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestHead:
    """What the drill needs of backup_manifest. label_moment: when the label was written (the backup's start, or later).

    system_identifier: PostgreSQL 17+; ranges: (timeline, start, end) of the log that the backup needs.
    """

    files: int
    bytes: int
    system_identifier: int | None
    label_moment: datetime | None
    ranges: tuple[tuple[int, int, int], ...]
    settings: tuple[int, str, str] | None = None
    """Size, algorithm and checksum of postgresql.auto.conf, which pg_verifybackup leaves out."""
    signals: tuple[str, ...] = ()
    unhashed: int = 0
    """Files without a checksum (--manifest-checksums=NONE): pg_verifybackup compares only their sizes."""


SETTINGS = "postgresql.auto.conf"
SIGNALS = ("recovery.signal", "standby.signal")


def read_manifest_head(data: bytes) -> ManifestHead:
    """Read a backup_manifest. Raises LabelError; whether it is unaltered is for pg_verifybackup to say."""
    try:
        whole: Any = json.loads(data)
        files = whole["Files"]
        entries = {item.get("Path"): item for item in files if item.get("Path") in {SETTINGS, *SIGNALS}}
        settings = entries.get(SETTINGS)
        moment = next(
            (item.get("Last-Modified") for item in files if item.get("Path") == "backup_label"), None
        )
        return ManifestHead(
            files=len(files),
            bytes=sum(int(item["Size"]) for item in files),
            system_identifier=int(whole["System-Identifier"]) if "System-Identifier" in whole else None,
            label_moment=read_moment(str(moment)) if moment else None,
            ranges=tuple(
                (int(item["Timeline"]), lsn_number(item["Start-LSN"]), lsn_number(item["End-LSN"]))
                for item in whole["WAL-Ranges"]
            ),
            settings=settings
            and (
                int(settings["Size"]),
                str(settings.get("Checksum-Algorithm")),
                str(settings.get("Checksum")),
            ),
            unhashed=sum("Checksum" not in item for item in files),
            signals=tuple(name for name in SIGNALS if name in entries),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LabelError(f"it is no backup manifest ({type(error).__name__})") from None
