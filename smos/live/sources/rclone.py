"""Backups where rclone reaches: listed by `rclone lsjson`, read by `rclone cat`. rclone itself runs on the runner."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from smos.live.declared import RcloneSource
from smos.live.errors import live_error
from smos.live.sources.base import Entry
from smos.live.stream import Stream
from smos.live.transport import Local, home, program
from smos.provision.owner import Owner

ENTRY_BYTES = 4096
RETRIED = ("--retries", "1", "--low-level-retries", "3", "--contimeout", "20s", "--timeout", "60s")
"""rclone's own attempts end soon: this product resumes by itself, and says so."""


class RcloneRemote:
    """See the module."""

    def __init__(self, source: RcloneSource, owner: Owner) -> None:
        self._owner = owner
        self._base = source.remote.rstrip("/") if not source.remote.endswith(":") else source.remote
        self._config = ["--config", str(source.config)] if source.config else []
        self.shown = f"rclone {source.remote}"

    def command(self, *words: str) -> list[str]:
        """Return one call of rclone."""
        return [program("rclone"), *self._config, *RETRIED, "--ask-password=false", *words]

    def place(self, path: str) -> str:
        """Return the name of a file as rclone takes it."""
        return f"{self._base}{path}" if self._base.endswith(":") else f"{self._base}/{path}"

    def entries(self, *, limit: int, deadline: float) -> Iterator[Entry]:
        """Yield what rclone lists: one JSON object a line."""
        rest = b""
        found = 0
        words = self.command("lsjson", "--recursive", "--no-mimetype", self._base)
        with Stream(self._owner, words, env=Local().env() | {"HOME": home()}) as stream:
            for block in stream.blocks(stall_s=60, deadline=deadline):
                *lines, rest = (rest + block).split(b"\n")
                if len(rest) > ENTRY_BYTES * 16:
                    raise live_error("host-answer-unreadable", f"{self.shown}: a name without an end")
                for line in lines:
                    if (entry := self._entry(line)) is None:
                        continue
                    found += 1
                    if found > limit:
                        raise live_error("listing-too-long", f"{self.shown} lists more than {limit} entries")
                    yield entry
            if (entry := self._entry(rest)) is not None:
                yield entry
            if stream.end() != 0:
                raise live_error("backup-directory-unreadable", f"{self.shown}: {said(stream.said)}")

    @contextmanager
    def read(
        self, entry: Entry, offset: int, *, stall_s: float, deadline: float
    ) -> Iterator[Iterator[bytes]]:
        """Give the file's blocks."""
        words = self.command("cat", f"--offset={offset}", self.place(entry.path))
        with Stream(self._owner, words, env=Local().env() | {"HOME": home()}) as stream:

            def blocks() -> Iterator[bytes]:
                yield from stream.blocks(stall_s=stall_s, deadline=deadline)
                if stream.end() != 0:
                    gone = re.search(r"not found|doesn't exist|denied|forbidden", stream.said, re.IGNORECASE)
                    code = "file-unreadable" if gone else "connection-lost"
                    raise live_error(code, f"{entry.path!a}: {said(stream.said)}", transient=not gone)

            yield blocks()

    def _entry(self, line: bytes) -> Entry | None:
        text = line.strip().rstrip(b",")
        if text in {b"", b"[", b"]"}:
            return None
        try:
            item = json.loads(text)
            size = int(
                item["Size"]
            )  # -1 of folders, and of what has no size of its own (documents of web offices)
            return Entry(
                path=str(item["Path"]),
                kind="d" if item["IsDir"] else "f" if size >= 0 else "?",
                size=max(0, size),
                modified=datetime.fromisoformat(item["ModTime"]).timestamp(),
                mark=f"{item['Size']} {item['ModTime']} {item.get('ID', '')}",
            )
        except (ValueError, KeyError, TypeError, OverflowError):
            raise live_error(
                "host-answer-unreadable", f"{self.shown}: the listing is not what `rclone lsjson` writes"
            ) from None


def said(text: str) -> str:
    """Return rclone's last sentence, without its time."""
    lines = [line for line in text.splitlines() if line.strip()]
    last = re.sub(r"^\S+ \S+ (ERROR|NOTICE|CRITICAL|Failed)?\s*:?\s*", r"\1 ", lines[-1]) if lines else ""
    return last.strip()[:200] or "rclone failed without a word"
