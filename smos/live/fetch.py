"""Brings backups from where they lie to the runner's sandbox: resumed where a stream breaks, bounded everywhere.

Nothing is written where they lie. What can't be brought over is a fact with a code, and leaves nothing half here.
"""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from smos.backup.names import printable
from smos.live.errors import LiveError, live_error
from smos.live.facts import FetchFacts
from smos.live.newest import newest_names
from smos.live.sources import Remote, local_parts
from smos.live.sources.base import Entry
from smos.target import Limits
from smos.verdict import Problem

STREAMS = 4
"""Files that are read at once: a set has hundreds of small ones, and each costs a round trip."""
WITHOUT_PROGRESS = 3
"""Attempts at one file, one after the other, that bring nothing."""
MOST_RESUMED = 50
"""Attempts at one file in all: a host that hangs up after every byte gets no further."""
LOOK_EVERY = 64 << 20
"""Bytes between two looks at the free space."""
MOST_RESERVE = 256 << 20
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
PAUSE_S = 1.0
"""Before a connection that was lost is made again; longer after each attempt."""


@dataclass(slots=True)
class Fetcher:
    """One fetch. directory: where the copies go; owned, so that it is removed with the run."""

    remote: Remote
    directory: Path
    limits: Limits
    report: Callable[[str], None]
    _files: dict[str, Entry] = field(default_factory=dict)
    _links: list[Entry] = field(default_factory=list)
    _folders: list[str] = field(default_factory=list)
    _notes: list[Problem] = field(default_factory=list)
    _done: dict[str, Entry] = field(default_factory=dict)
    _problem: Problem | None = None
    _later: Problem | None = None
    _changed: tuple[str, ...] = ()
    _newest_changed: tuple[str, ...] = ()
    _of_newest: frozenset[str] = frozenset()
    _newest: tuple[int, int, float] = (0, 0, 0.0)
    _total: tuple[int, int, float] = (0, 0, 0.0)
    _resumed: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def list(self) -> None:
        """Read the listing. What fails becomes `problem`."""
        try:
            for entry in self.remote.entries(limit=self.limits.files, deadline=self._deadline()):
                self._take(entry)
        except LiveError as error:
            if (
                error.code == "listing-incomplete"
            ):  # what can be seen is fetched; that it is all can't be shown
                self._later = error.problem
            else:
                self._problem = error.problem

    def newest(self, now: datetime, timezone: str) -> None:
        """Bring over the files of the newest set. What fails becomes `problem`, and what was brought is removed."""
        if self._problem is not None:
            return
        names = newest_names((path.partition("/")[0] for path in self._files), now, ZoneInfo(timezone))
        wanted = [entry for path, entry in self._files.items() if path.partition("/")[0] in names]
        began = time.monotonic()
        self._of_newest = frozenset(entry.path for entry in wanted)
        self._problem = self._bring(wanted)
        self._newest = self._total = (len(self._done), self._bytes(), time.monotonic() - began)
        if self._problem is not None:
            self._empty()

    def rest(self) -> None:
        """Bring over everything else, and look whether what was read has changed since. What fails becomes `later`."""
        if self._problem is not None:
            return
        began = time.monotonic()
        left = [entry for path, entry in self._files.items() if path not in self._done]
        failed = self._bring(left)
        self._later = self._later or failed
        self._place_links()
        self._total = (len(self._done), self._bytes(), self._newest[2] + time.monotonic() - began)
        if failed is None:
            self._compare()

    @property
    def facts(self) -> FetchFacts:
        """What is known by now."""
        return FetchFacts(
            source=printable(self.remote.shown),
            listed=len(self._files),
            listed_bytes=sum(entry.size for entry in self._files.values()),
            newest_files=self._newest[0],
            newest_bytes=self._newest[1],
            newest_s=round(self._newest[2], 3),
            total_files=self._total[0],
            total_bytes=self._total[1],
            total_s=round(self._total[2], 3),
            resumed=self._resumed,
            problem=self._problem,
            later=self._later,
            notes=tuple(self._notes),
            changed=self._changed,
            newest_changed=self._newest_changed,
        )

    # --- the listing ------------------------------------------------------------------------------------------

    def _take(self, entry: Entry) -> None:
        if local_parts(entry.path) is None or entry.size < 0:
            raise live_error(
                "unsafe-name",
                f"{printable(self.remote.shown)} lists {printable(entry.path)}, which would lead out of the sandbox",
            )
        if entry.kind == "f":
            if entry.path in self._files:
                raise live_error(
                    "host-answer-unreadable",
                    f"{printable(entry.path)} is listed twice: no file system does that",
                )
            self._files[entry.path] = entry
        elif entry.kind == "l":
            self._links.append(entry)
        elif entry.kind == "d":
            self._folders.append(entry.path)
        else:
            self._notes.append(
                Problem("special-file", f"{printable(entry.path)}: neither a file nor a folder; not fetched")
            )

    def _place_links(self) -> None:
        """Make the links last, so that no file is written through one. Whoever reads the directory follows none."""
        for entry in self._links:
            path = self._inside(entry.path)
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.symlink_to(entry.link or "nothing")
            except (OSError, ValueError) as error:
                self._notes.append(
                    Problem(
                        "special-file", f"{printable(entry.path)}: a link that can't be made: {error!s:.100}"
                    )
                )

    # --- bytes ------------------------------------------------------------------------------------------------

    def _bring(self, entries: Iterable[Entry]) -> Problem | None:
        wanted = sorted(entries, key=lambda entry: entry.path)
        self._stop.clear()
        try:
            self._require_room(sum(entry.size for entry in wanted))
            for folder in {Path(entry.path).parent for entry in wanted}:
                (self.directory / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            deadline = self._deadline()
            with ThreadPoolExecutor(STREAMS) as pool:
                jobs: list[Future[None]] = [pool.submit(self._file, entry, deadline) for entry in wanted]
                try:
                    for job in jobs:
                        job.result()
                except BaseException:
                    self._stop.set()
                    for job in jobs:
                        job.cancel()
                    raise
        except LiveError as error:
            return error.problem
        except OSError as error:
            return self._of_disk(error).problem
        return None

    def _file(self, entry: Entry, deadline: float) -> None:
        """Bring one file, taking it up again where a stream broke. Raises LiveError, OSError."""
        path = self._inside(entry.path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        offset, fruitless = 0, 0
        try:
            with os.fdopen(os.open(path, flags, 0o600), "wb", 0) as file:
                for attempt in range(MOST_RESUMED + 1):
                    before = offset
                    try:
                        for block in self._blocks(entry, offset, deadline):
                            offset += len(block)
                            self._write(file.fileno(), block, offset, entry)
                        break
                    except LiveError as error:
                        fruitless = fruitless + 1 if offset == before else 0
                        if not error.transient:
                            raise
                        if attempt == MOST_RESUMED or fruitless >= WITHOUT_PROGRESS:
                            raise self._given_up(error, entry, offset, attempt + 1) from None
                        self._again(error, entry, offset, fruitless)
            if offset < entry.size:
                raise live_error(
                    "source-changed",
                    f"{printable(entry.path)} ended after {offset} of the {entry.size} bytes of the listing",
                )
            os.utime(path, (entry.modified, entry.modified))
        except OSError as error:
            raise self._of_disk(error) from None
        except (OverflowError, ValueError):
            raise live_error(
                "host-answer-unreadable", f"{printable(entry.path)}: a time that no clock has"
            ) from None
        with self._lock:
            self._done[entry.path] = entry

    def _blocks(self, entry: Entry, offset: int, deadline: float) -> Iterable[bytes]:
        with self.remote.read(entry, offset, stall_s=self.limits.stall_seconds, deadline=deadline) as blocks:
            yield from blocks

    def _write(self, descriptor: int, block: bytes, offset: int, entry: Entry) -> None:
        if self._stop.is_set():
            raise live_error("fetch-broken-off", "another file could not be fetched")
        if offset > entry.size:
            raise live_error(
                "source-changed",
                f"{printable(entry.path)} is longer than the {entry.size} bytes of the listing",
            )
        if offset // LOOK_EVERY != (offset - len(block)) // LOOK_EVERY:
            self._require_room(entry.size - offset)
        view = memoryview(block)
        while view:
            view = view[os.write(descriptor, view) :]

    def _again(self, error: LiveError, entry: Entry, offset: int, fruitless: int) -> None:
        """Wait a moment, connect again where the way has to be made, and count it."""
        with self._lock:
            self._resumed += 1
            self.report(f"taking up {printable(entry.path)} again at byte {offset}: {error.message}")
            reopen = getattr(self.remote, "reopen", None)
            if self._stop.wait(PAUSE_S * fruitless) or reopen is None or error.code == "fetch-stalled":
                return
            try:
                reopen()
            except LiveError as refused:
                if not refused.transient:
                    raise

    def _given_up(self, error: LiveError, entry: Entry, offset: int, attempts: int) -> LiveError:
        code = error.code if error.code == "fetch-stalled" else "fetch-broken-off"
        return live_error(
            code,
            f"{printable(entry.path)}: {offset} of {entry.size} bytes came over in {attempts} attempts;"
            f" the last one: {error.message}",
        )

    # --- room -------------------------------------------------------------------------------------------------

    def _require_room(self, wanted: int) -> None:
        facts = os.statvfs(self.directory)
        free, whole = facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
        reserve = min(MOST_RESERVE, whole // 20)
        if wanted + reserve > free:
            raise live_error(
                "runner-disk-full",
                f"the runner has {free} bytes free below {self.directory.parent}, and {wanted} more are to come"
                f" (besides {reserve} that stay free)",
            )

    def _of_disk(self, error: OSError) -> LiveError:
        if error.errno in FULL:
            return live_error("runner-disk-full", f"the runner's disk is full: {error.strerror}")
        return live_error(
            "unsafe-name" if error.errno in {errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP} else
            "runner-disk-full",
            f"the sandbox could not take a file: {error.strerror}",
        )  # fmt: skip

    def _empty(self) -> None:
        """Take away what came over of a set that is not whole."""
        for path in self.directory.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        self._done.clear()

    # --- afterwards -------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Hold a second listing against the first: a file that changed while it was read may be torn."""
        try:
            now = {
                entry.path: entry.mark
                for entry in self.remote.entries(limit=self.limits.files, deadline=self._deadline())
            }
        except LiveError as error:
            self._later = error.problem
            return
        changed = [
            path for path, entry in sorted(self._done.items()) if now.get(path, entry.mark) != entry.mark
        ]
        self._changed = tuple(printable(path) for path in changed)
        self._newest_changed = tuple(printable(path) for path in changed if path in self._of_newest)

    def _inside(self, path: str) -> Path:
        parts = local_parts(path)
        if parts is None:
            raise live_error("unsafe-name", f"{printable(path)} would lead out of the sandbox")
        return self.directory / parts

    def _bytes(self) -> int:
        return sum(entry.size for entry in self._done.values())

    def _deadline(self) -> float:
        return time.monotonic() + self.limits.fetch_seconds
