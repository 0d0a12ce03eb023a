"""Dumps in pg_dump's archive formats: the table of contents judged entry by entry, data loaded in parallel.

Four passes, each on entries that were chosen by our own reading of the table of contents:
1. definitions, printed as text by pg_restore and passed through the same rules as a plain dump;
2. data, and then indexes, constraints and triggers, directly into the database, with parallel sessions;
3. rights and comments, as text;
4. materialized views, directly.
pg_restore never runs psql commands, and it connects as the unprivileged role of this one database.
"""

import mmap
import os
import re
import subprocess
import tarfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from smos.backup.model import ArtifactKind
from smos.backup.pgdump import ArchiveHeader, TocError, TocTooNewError, parse_archive_header
from smos.backup.streams import StreamFault, decompress
from smos.drill.databases import DatabasePlan
from smos.drill.feed import Failure, tool_process
from smos.drill.job import Context, Job
from smos.drill.restore_facts import DatabaseRestore, DumpSource
from smos.drill.sqlrules import HOSTILE, Action, judge
from smos.drill.sqlstream import Command, SqlLexer, Statement
from smos.drill.textdump import LimitError, Meter, Watch, check_limits, feed_text, read_text
from smos.provision.users import service_user
from smos.verdict import Problem

HEAD = 2**16
BLOCK = 2**18
LONGEST = 64 * 2**20
MOST_ENTRIES = 5_000_000
MOST_LINES = 400
COPY_TAIL = b"\\.\n\n\n"
"""What pg_dump writes after the rows of a table: where it is missing, rows may be missing."""
SUFFIXES = {".zst": "zstd", ".gz": "gzip", ".lz4": "lz4"}
PRE, DATA = 2, 3
WHOLE = frozenset({"DATABASE", "DATABASE PROPERTIES"})
LATER = frozenset({"ACL", "DEFAULT ACL", "COMMENT", "SECURITY LABEL"})
BLOBS = frozenset({"BLOBS", "BLOB"})
REFRESH = "MATERIALIZED VIEW DATA"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the table of contents."""

    id: int
    kind: str
    tag: str
    section: int
    definition: str
    copy: str
    namespace: str
    owner: str
    has_data: bool
    file: str


def read_contents(data: "mmap.mmap | bytes") -> tuple[ArchiveHeader, tuple[Entry, ...]]:
    """Read header and table of contents. Raises TocError (TocTooNewError for a format that is not known).

    Source of the layout: ReadHead and ReadToc in src/bin/pg_dump/pg_backup_archiver.c.
    """
    header = parse_archive_header(bytes(data[:HEAD]))
    reader = _Reader(data, header)
    if not 0 <= header.entries <= MOST_ENTRIES:
        raise TocError(f"claims {header.entries} entries")
    entries = []
    for _ in range(header.entries):
        number = reader.integer()
        has_data = reader.integer() != 0
        reader.string()
        reader.string()
        tag, kind = reader.string(), reader.string()
        section = reader.integer() if header.version >= (1, 11) else PRE
        definition = reader.string()
        reader.string()
        copy, namespace = reader.string(), reader.string()
        reader.string()
        if header.version >= (1, 14):
            reader.string()
        if header.version >= (1, 16):
            reader.integer()
        owner = reader.string()
        reader.string()
        while reader.string() is not None:
            pass
        file = ""
        if header.format == "custom":
            reader.take(1 + header.offset_bytes)
        else:
            file = reader.string() or ""
        entries.append(
            Entry(
                number, kind or "", tag or "", section, definition or "", copy or "", namespace or "", owner or "",
                has_data, file,
            )
        )  # fmt: skip
    return header, tuple(entries)


class _Reader:
    def __init__(self, data: "mmap.mmap | bytes", header: ArchiveHeader) -> None:
        self._data, self._position, self._size = data, header.end, header.integer_bytes

    def take(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST:
            raise TocError(f"a length of {size} bytes makes no sense")
        piece = bytes(self._data[self._position : self._position + size])
        if len(piece) < size:
            raise TocError("it ends inside the table of contents")
        self._position += size
        return piece

    def integer(self) -> int:
        negative = self.take(1)[0]
        value = int.from_bytes(self.take(self._size), "little")
        return -value if negative else value

    def string(self) -> str | None:
        length = self.integer()
        return None if length < 0 else self.take(length).decode(errors="surrogateescape")


def _statements(text: str) -> Iterator[Statement | str]:
    """Yield the statements of a definition; a word for anything else that it holds."""
    lexer = SqlLexer()
    for event in (*lexer.feed(text.encode(errors="surrogateescape")), *lexer.feed(b"\n"), *lexer.close()):
        if isinstance(event, Statement):
            yield event
        elif isinstance(event, Command):
            yield "psql command"


class ArchiveRestore:
    """Restores one archive. Use `run` once."""

    def __init__(self, context: Context, source: DumpSource, watch: Watch) -> None:
        self.problems: list[Problem] = []
        self._context = context
        self._source = source
        self._watch = watch
        self._folder = context.scratch / f"archive-{os.urandom(4).hex()}"
        self._meter = Meter()
        self._format = ""
        self._tails_missing: list[str] = []

    def run(self) -> tuple[DatabaseRestore, ...]:
        """Restore the archive; facts of its one database, none where it can't even be opened."""
        self._folder.mkdir(mode=0o700)
        try:
            return self._run()
        finally:
            _remove(self._folder)

    def _run(self) -> tuple[DatabaseRestore, ...]:
        try:
            contents = self._open()
        except TocTooNewError as error:
            return self._unopened("version-gap", str(error))
        except (TocError, StreamFault, LimitError, tarfile.TarError) as error:
            code = error.code if isinstance(error, StreamFault) else "archive-unreadable"
            return self._unopened(code, "limit exceeded" if isinstance(error, LimitError) else str(error))
        except OSError as error:
            return self._unopened("file-unreadable", error.strerror or "it can't be read")
        header, entries = contents
        job = self._job(self._source.database or header.database or self._source.path.name.split(".")[0])
        job.versions(dumped_from=header.server_version, dump_tool=header.dump_version)
        self._format = header.format
        self._watch.add(job)
        try:
            if not job.stopped:
                self._restore(job, header, entries)
            facts = job.finish()
        finally:
            self._watch.remove(job)
        self._context.progress(f"{job.name}: {'restored' if facts.restored else 'not restored'}")
        return (facts,)

    def _job(self, name: str) -> Job:
        source = self._source
        return Job(self._context, name, source.path.name, source.kind, DatabasePlan(), source.extensions)

    def _unopened(self, code: str, detail: str) -> tuple[DatabaseRestore, ...]:
        self.problems.append(Problem(code, f"{self._source.path.name}: {detail}"))
        if self._source.database is None:
            return ()
        job = self._job(self._source.database)
        if code == "version-gap":
            job.gap(code, detail)
        else:
            job.whole = False
            job.note(code, detail)
        job.stop("truncated")
        return (job.finish(),)

    # --- opening ------------------------------------------------------------------------------------------------

    def _open(self) -> tuple[ArchiveHeader, tuple[Entry, ...]]:
        """Put the archive where pg_restore can read it, and read its contents."""
        source = self._source
        if source.kind is ArtifactKind.PG_DUMP_DIRECTORY:
            self._path = source.path
            contents = _contents_of(source.path / "toc.dat")
            if self._must_stage(source.path):
                self._stage_directory(contents[1])
            else:
                self._check_tails(contents[1])
            return contents
        if source.compression != "none" or not _readable(source.path):
            self._path = self._folder / "archive"
            _write(self._path, read_text(source.path, source.compression, self._context.limits, self._meter))
            _give(self._folder, self._path)
        else:
            self._path = source.path
        if source.kind is ArtifactKind.PG_DUMP_TAR:
            return self._open_tar()
        return _contents_of(self._path)

    def _open_tar(self) -> tuple[ArchiveHeader, tuple[Entry, ...]]:
        """Read a tar's contents and make sure that every member is there: pg_restore never ends on one that was cut."""
        with tarfile.open(self._path, "r:") as archive:
            member = archive.next()
            stream = archive.extractfile(member) if member is not None and member.name == "toc.dat" else None
            if member is None or stream is None or member.size > LONGEST:
                raise TocError("its first member is no table of contents")
            contents = read_contents(stream.read(member.size))
            members = {item.name: item for item in archive}
            for entry in contents[1]:
                if entry.has_data and entry.file:
                    self._check_member(archive, members, entry)
        return contents

    def _check_member(self, archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], entry: Entry) -> None:
        """Make sure that one entry's data are in the tar, to their end. Raises TocError."""
        missing = TocError(f"the data of {entry.kind} {entry.tag[:80]} are missing")
        if entry.kind in BLOBS:
            name = next((name for name in (f"blobs_{entry.id}.toc", "blobs.toc") if name in members), None)
            listing = archive.extractfile(members[name]) if name is not None else None
            if listing is None:
                raise missing
            for line in listing.read(LONGEST).decode(errors="replace").splitlines():
                if line.split(" ", 1)[-1] not in members:
                    raise missing
            return
        if entry.file not in members:
            raise missing
        data = archive.extractfile(members[entry.file]) if entry.copy else None
        if data is not None:
            data.seek(max(0, members[entry.file].size - len(COPY_TAIL)))
            if data.read() != COPY_TAIL:
                self._tails_missing.append(entry.file)

    def _must_stage(self, folder: Path) -> bool:
        names = [path.name for path in folder.iterdir()]
        compressed = any(name.endswith(tuple(SUFFIXES)) for name in names)
        return compressed or not _readable(folder) or not all(_readable(folder / name) for name in names)

    def _stage_directory(self, entries: tuple[Entry, ...]) -> None:
        """Decompress every file into scratch space of ours, checking that it is whole."""
        folder = self._source.path
        self._path = self._folder / "directory"
        self._path.mkdir(mode=0o700)
        copied = {entry.file for entry in entries if entry.copy}
        files = sorted((path for path in folder.iterdir()), key=lambda path: -path.lstat().st_size)

        def one(path: Path) -> None:
            if path.is_symlink() or not path.is_file():
                raise TocError(f"{path.name} is no regular file")
            compression = SUFFIXES.get(path.suffix, "none")
            target = self._path / (
                path.name.removesuffix(path.suffix) if compression != "none" else path.name
            )
            meter = Meter()
            tail = _write(target, read_text(path, compression, self._context.limits, meter))
            _give(target)
            with _METERING:
                self._meter.stored += meter.stored
                self._meter.opened += meter.opened
                check_limits(self._meter, self._context.limits)
            if target.name in copied and not tail.endswith(COPY_TAIL):
                self._tails_missing.append(target.name)

        with ThreadPoolExecutor(max(1, self._context.jobs)) as pool:
            list(pool.map(one, files))
        _plain_header(self._path / "toc.dat")
        _give(self._folder, self._path)

    def _check_tails(self, entries: tuple[Entry, ...]) -> None:
        """Look at the end of every table's file, which pg_restore itself does not miss."""
        for entry in entries:
            if not entry.copy or not entry.file or "/" in entry.file:
                continue
            path = self._source.path / entry.file
            if path.is_file():
                with path.open("rb") as file:
                    file.seek(max(0, path.stat().st_size - len(COPY_TAIL)))
                    if file.read() != COPY_TAIL:
                        self._tails_missing.append(entry.file)

    # --- the passes -----------------------------------------------------------------------------------------------

    def _restore(self, job: Job, header: ArchiveHeader, entries: tuple[Entry, ...]) -> None:
        job.bytes_read = self._meter.opened or _size(self._source.path)
        if not self._can_decompress(header):
            job.gap("compression-unavailable", f"the sandbox's pg_restore can't read {header.compression}")
            job.stop("truncated")
            return
        first, main, last, views, inserts = self._sort(job, entries)
        if self._tails_missing:
            job.whole = False
            job.note(
                "dump-truncated",
                f"{len(self._tails_missing)} data files end early: {', '.join(self._tails_missing[:5])}",
            )
        job.complete = None
        read = job.bytes_read
        self._as_text(job, first, header)
        if not job.stopped and inserts:
            self._as_text(job, inserts, header)
        job.drain()
        # Never in one parallel run: it may create a partitioned table's trigger before a partition has its rows.
        for section in (True, False):
            if not job.stopped and job.open():
                self._directly(job, [entry for entry in main if (entry.section == DATA) is section], header)
        if not job.stopped:
            self._as_text(job, last, header)
            job.drain()
        if not job.stopped:
            self._directly(job, views, header)
        job.bytes_read = read
        job.complete = None if job.stopped else job.whole

    def _can_decompress(self, header: ArchiveHeader) -> bool:
        if header.format == "directory" or self._source.kind is ArtifactKind.PG_DUMP_DIRECTORY:
            return True
        needed = {"zstd": "zstd", "lz4": "lz4"}.get(header.compression)
        return needed is None or needed in self._context.server.installation.features

    def _sort(self, job: Job, entries: tuple[Entry, ...]) -> tuple[list[Entry], ...]:
        """Sort the entries into the passes; what the rules keep out is noted and goes nowhere."""
        first: list[Entry] = []
        main: list[Entry] = []
        last: list[Entry] = []
        views: list[Entry] = []
        inserts: list[Entry] = []
        for entry in entries:
            if entry.kind in WHOLE or (entry.kind in LATER and entry.tag.startswith("DATABASE ")):
                self._whole(job, entry)
            elif entry.kind in LATER:
                last.append(entry)
            elif entry.kind == REFRESH:
                views.append(entry)
            elif entry.section == PRE:
                first.append(entry)
            elif entry.has_data and entry.kind == "TABLE DATA" and not entry.copy:
                inserts.append(entry)
            elif entry.kind == "EVENT TRIGGER":
                last.append(entry)  # as text, where the rules withhold it
            elif self._direct(job, entry):
                main.append(entry)
        return first, main, last, views, inserts

    def _whole(self, job: Job, entry: Entry) -> None:
        if entry.kind == "DATABASE" and entry.owner:
            job.plan.owner = entry.owner
        for statement in _statements(entry.definition):
            if isinstance(statement, str):
                job.refuse(HOSTILE, f"{entry.kind}: {statement}", None, "never executed")
                continue
            ruling = judge(statement, server_version_num=self._context.version, features=())
            if ruling.action is Action.DATABASE:
                job.plan.take(statement, ruling.kind)
            else:
                job.refuse(HOSTILE, f"{entry.kind}: {ruling.kind}", None, "not what pg_dump writes here")

    def _direct(self, job: Job, entry: Entry) -> bool:
        """Judge an entry that pg_restore would execute itself."""
        allowed = True
        for statement in _statements(
            entry.definition + "\n" + (entry.copy if entry.copy.rstrip().endswith(";") else "")
        ):
            if isinstance(statement, str):
                job.refuse(HOSTILE, f"{entry.kind}: {statement}", None, "never executed")
                return False
            ruling = judge(
                statement,
                server_version_num=self._context.version,
                features=self._context.server.installation.features,
            )
            if ruling.action is Action.FEED and not ruling.code:
                allowed = job.ensure(ruling.roles) and allowed
            elif ruling.action in {Action.GAP, Action.NOTE, Action.FEED}:
                (job.note if ruling.action is Action.NOTE else job.gap)(
                    ruling.code, f"{entry.kind} {entry.tag[:80]}: {ruling.detail}"
                )
                allowed = False
            elif ruling.action is Action.SKIP:
                allowed = False
            else:
                job.refuse(
                    HOSTILE,
                    f"{entry.kind}: {ruling.kind}",
                    None,
                    ruling.detail or "not what pg_dump writes here",
                )
                return False
        if entry.copy and not _is_copy(entry.copy):
            job.refuse(HOSTILE, f"{entry.kind}: COPY", None, "not the form that pg_dump writes")
            return False
        if entry.owner:
            allowed = job.ensure((entry.owner,)) and allowed
        return allowed

    def _list(self, entries: Sequence[Entry]) -> Path:
        path = self._folder / f"list-{os.urandom(4).hex()}"
        path.write_text("".join(f"{entry.id};\n" for entry in entries), encoding="ascii")
        path.chmod(0o600)
        _give(self._folder, path)
        return path

    def _command(self, *words: str | Path) -> list[str | Path]:
        return [
            self._context.server.installation.tool("pg_restore"), "--exit-on-error", "--no-tablespaces", "--no-subscriptions",
            f"--format={ {'custom': 'c', 'tar': 't', 'directory': 'd'}[_FORMATS[self._source.kind]] }", *words, self._path,
        ]  # fmt: skip

    def _as_text(self, job: Job, entries: Sequence[Entry], _header: ArchiveHeader) -> None:
        if not entries:
            return
        argv = self._command(f"--use-list={self._list(entries)}", "--file=-")
        process = tool_process(
            argv, self._context.server.endpoint, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        unwatch = job.watch(lambda _reason: process.kill())
        messages = _Messages(process)
        assert process.stdout is not None  # noqa: S101  (asked for above; narrows the type)
        with process.stdout as output:
            feed_text(job, iter(lambda: output.read(BLOCK), b""))
        code = process.wait()
        unwatch()
        if code and not job.stopped:
            job.fail(messages.failure(code))

    def _directly(self, job: Job, entries: Sequence[Entry], header: ArchiveHeader) -> None:
        if not entries:
            return
        endpoint = self._context.server.endpoint
        words: list[str | Path] = [
            f"--use-list={self._list(entries)}", "--no-password", f"--dbname={endpoint.conninfo(job.name, job.restore_role)}",
        ]  # fmt: skip
        if header.format != "tar" or self._source.kind is ArtifactKind.PG_DUMP_DIRECTORY:
            words.append(f"--jobs={max(1, self._context.jobs)}")
        process = tool_process(
            self._command(*words), endpoint, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        reasons: list[str] = []

        def kill(reason: str) -> None:
            reasons.append(reason)
            process.kill()

        unwatch = job.watch(kill)
        messages = _Messages(process)
        code = process.wait()
        unwatch()
        if reasons:
            job.fail(Failure(reasons[0], "pg_restore", "", None))
        elif code:
            job.fail(messages.failure(code))


_METERING = threading.Lock()
_FORMATS = {
    ArtifactKind.PG_DUMP_CUSTOM: "custom",
    ArtifactKind.PG_DUMP_TAR: "tar",
    ArtifactKind.PG_DUMP_DIRECTORY: "directory",
}
_ENTRY = re.compile(r"pg_restore: from TOC entry \d+; \d+ \d+ ([A-Z][A-Z ]*[A-Z]) ([^\s]+)")
_SERVER = re.compile(r"(?:ERROR|FATAL|PANIC):  (.*)")
_CLASSES: tuple[tuple[str, str], ...] = (
    (r"(?:must be (?:super|owner)|permission denied|only (?:super|roles with))", "42501"),
    (r".*does not exist", "undefined"),
    (r".*already exists", "42710"),
    (r".*(?:could not (?:extend|write)|No space left|temporary file size exceeds)", "53100"),
    (r".*(?:terminating connection|shutting down|starting up)", "57P01"),
    (r".*duplicate key|.*could not create unique index", "23505"),
    (r".*violates foreign key", "23503"),
    (r".*violates check|.*is violated by some row", "23514"),
    (r".*violates not-null|.*contains null values", "23502"),
    (r".*syntax error", "42601"),
    (r"invalid input syntax", "22P02"),
    (r".*not supported", "0A000"),
)


class _Messages:
    """What pg_restore says, read while it runs; kept in memory only as long as it is needed for a code."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stderr is not None  # noqa: S101  (always asked for; narrows the type)
        self._stream = process.stderr
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream as stream:
            for line in iter(lambda: stream.readline(1 << 16), b""):
                if len(self._lines) < MOST_LINES:
                    self._lines.append(line[:400].decode(errors="replace").rstrip())

    def failure(self, code: int) -> Failure:
        """Return a code for what happened; the server's words are dropped, they may quote a row."""
        self._thread.join()
        kind, subject, found = "pg_restore", "", ""
        for line in self._lines:
            if (entry := _ENTRY.match(line)) is not None:
                kind, subject = entry[1], f"{entry[1]} {entry[2]}"
            if (server := _SERVER.search(line)) is not None and not found:
                found = next(
                    (state for pattern, state in _CLASSES if re.match(pattern, server[1])), "server-error"
                )
            elif not found and line.startswith("pg_restore: error:"):
                found = _own_code(line)
        return Failure(found or f"exit-{code}", kind, subject, None)


def _own_code(line: str) -> str:
    if "unsupported version" in line:
        return "version-gap"
    if "connection to server" in line or "server closed" in line or "lost synchronization" in line:
        return "connection-lost"
    if re.search(
        r"end of file|could not read|could not find|corrupt|did not find magic|unexpected|could not uncompress|invalid",
        line,
    ):
        return "archive-truncated"
    return "pg-restore-error"


def _is_copy(text: str) -> bool:
    return any(isinstance(item, Statement) and item.copies for item in _statements(text))


def _contents_of(path: Path) -> tuple[ArchiveHeader, tuple[Entry, ...]]:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise TocError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read_contents(data)


def _plain_header(path: Path) -> None:
    """Make a staged table of contents say "not compressed", as its data files now are (byte 11 since format 1.15)."""
    with path.open("r+b") as file:
        head = file.read(12)
        if head[:5] == b"PGDMP" and (head[5], head[6]) >= (1, 15):
            file.seek(11)
            file.write(b"\0")


def _write(path: Path, pieces: Iterable[bytes]) -> bytes:
    """Write a file and return its last bytes."""
    tail = b""
    with path.open("xb") as file:
        for piece in pieces:
            file.write(piece)
            tail = (tail + piece)[-16:] if len(piece) < 16 else piece[-16:]
    return tail


def _give(*paths: Path) -> None:
    user = service_user()
    for path in paths:
        if user is not None:
            os.chown(path, user.uid, user.gid, follow_symlinks=False)


def _readable(path: Path) -> bool:
    """Whether the service user may read a file or directory, as far as permissions of the path tell."""
    user = service_user()
    if user is None:
        return os.access(path, os.R_OK)
    for part in (path.absolute(), *path.absolute().parents):
        info = part.stat()
        need = 0o4 if part == path.absolute() else 0o1
        if part == path.absolute() and path.is_dir():
            need = 0o5
        shift = 6 if info.st_uid == user.uid else 3 if info.st_gid == user.gid else 0
        if (info.st_mode >> shift) & need != need:
            return False
    return True


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(item.stat().st_size for item in path.iterdir() if item.is_file())
    return path.stat().st_size


def _remove(folder: Path) -> None:
    for root, folders, names in os.walk(folder, topdown=False):
        for name in names:
            Path(root, name).unlink()
        for name in folders:
            Path(root, name).rmdir()
    folder.rmdir()
