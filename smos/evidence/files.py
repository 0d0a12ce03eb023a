"""Writing what a run leaves: whole files by one rename, single lines with fsync; nothing half there."""

import json
import os
import threading
from pathlib import Path
from typing import Any


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, sync it, and rename it there; processes may do so at once. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: of two workers that share one, the second to rename would find nothing.
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with partial.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON with a final newline, by one rename. Raises OSError."""
    write_atomic(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())


def append_line(path: Path, line: str, *, mode: int = 0o644) -> None:
    """Append one line at once and sync it; a half line that a killed run left is closed first.

    Raises OSError.
    mode: permissions of a file that is made by this call.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        whole = end == 0 or os.pread(descriptor, 1, end - 1) == b"\n"
        os.write(descriptor, (("" if whole else "\n") + line.rstrip("\n") + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
