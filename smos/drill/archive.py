"""Dumps in pg_dump's archive formats: the table of contents judged entry by entry, data loaded in parallel.

Four passes, each on entries that were chosen by our own reading of the table of contents:
1. definitions, printed as text by pg_restore and passed through the same rules as a plain dump;
2. data (of directories by sessions of ours, see rows.py), and then indexes, constraints and triggers, directly into
   the database, with parallel sessions;
3. rights and comments, as text;
4. materialized views, directly.
pg_restore never runs psql commands, and it connects as the unprivileged role of this one database.
"""

import os
import re
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smos.backup.model import ArtifactKind
from smos.backup.pgdump import TocError, TocTooNewError
from smos.backup.streams import StreamFault
from smos.drill.archive_errors import Messages
from smos.drill.context import Context
from smos.drill.databases import DatabasePlan, database_name
from smos.drill.feed import Failure, end_process, tool_process
from smos.drill.job import Job
from smos.drill.restore_facts import DatabaseRestore, DumpSource
from smos.drill.rows import load_rows
from smos.drill.sqlrules import HOSTILE, UNEXPECTED, Action, judge
from smos.drill.sqlstream import FLAWS, Command, Event, Flaw, SqlLexer, Statement
from smos.drill.staging import Staged, give, remove, stage
from smos.drill.textdump import LimitError, Watch, feed_text, named_database
from smos.drill.toc import DATA, PRE, Entry, out_of_order
from smos.verdict import Problem

BLOCK = 2**18
_LARGE_OBJECTS = re.compile(
    # Possessive: a list that ends otherwise than in a number must not be tried in every way to cut it into numbers.
    r"[0-9]++(?:\.\.[0-9]++)?+\|(?:SELECT pg_catalog\.lo_create\('[0-9]++'\);\s*+|(?:[0-9]++\n?+)*+)"
)
CONTROL = frozenset({b"\\restrict", b"\\unrestrict", b"\\encoding"})
"""psql commands that pg_restore writes beside \\connect."""
WHOLE = frozenset({"DATABASE", "DATABASE PROPERTIES"})
LATER = frozenset({"ACL", "DEFAULT ACL", "COMMENT", "SECURITY LABEL"})
REFRESH = "MATERIALIZED VIEW DATA"
LETTERS = {
    ArtifactKind.PG_DUMP_CUSTOM: "c",
    ArtifactKind.PG_DUMP_TAR: "t",
    ArtifactKind.PG_DUMP_DIRECTORY: "d",
}
"""pg_restore's names of the formats."""


def statements(text: str) -> Iterator[Statement | str]:
    """Yield the statements of a definition; words for anything else that it holds."""
    lexer = SqlLexer()
    for event in (*lexer.feed(text.encode(errors="surrogateescape")), *lexer.feed(b"\n"), *lexer.close()):
        if isinstance(event, Statement):
            yield event
        elif isinstance(event, Command):
            yield "psql command"
        elif isinstance(event, Flaw) and event.code != "copy-unterminated":  # the data are elsewhere
            yield FLAWS[event.code]


@dataclass(slots=True)
class Passes:
    """The entries of an archive by how they are restored.

    whole: of the database itself. first, last, inserts: as text, before the rows, after them, and rows that are
    statements. main: by pg_restore. views: the contents of materialized views, when all else is there.
    """

    whole: list[Entry] = field(default_factory=list)
    first: list[Entry] = field(default_factory=list)
    inserts: list[Entry] = field(default_factory=list)
    main: list[Entry] = field(default_factory=list)
    last: list[Entry] = field(default_factory=list)
    views: list[Entry] = field(default_factory=list)


class ArchiveRestore:
    """Restores one archive. Use `run` once."""

    def __init__(self, context: Context, source: DumpSource, watch: Watch) -> None:
        self.problems: list[Problem] = []
        self._context = context
        self._source = source
        self._watch = watch
        self._folder = context.scratch / f"archive-{os.urandom(4).hex()}"

    def run(self) -> tuple[DatabaseRestore, ...]:
        """Restore the archive; facts of its one database, none where it can't even be opened."""
        self._folder.mkdir(mode=0o700)
        try:
            return self._run()
        finally:
            remove(self._folder)

    def _run(self) -> tuple[DatabaseRestore, ...]:
        try:
            staged = stage(self._context, self._source, self._folder)
        except TocTooNewError as error:
            return self._unopened("version-gap", str(error))
        except (TocError, StreamFault, LimitError, tarfile.TarError) as error:
            code = error.code if isinstance(error, StreamFault) else "archive-unreadable"
            return self._unopened(code, "limit exceeded" if isinstance(error, LimitError) else str(error))
        except OSError as error:
            return self._unopened("file-unreadable", error.strerror or "it can't be read")
        header = staged.header
        job = self._job(self._source.database or header.database or self._source.path.name.split(".")[0])
        job.versions(dumped_from=header.server_version, dump_tool=header.dump_version)
        self._watch.add(job)
        try:
            if not job.stopped:
                self._restore(job, staged)
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

    # --- the passes -----------------------------------------------------------------------------------------------

    def _restore(self, job: Job, staged: Staged) -> None:
        if not self._can_decompress(staged):
            job.gap(
                "compression-unavailable", f"the sandbox's pg_restore can't read {staged.header.compression}"
            )
            job.stop("truncated")
            return
        passes = self._sort(job, staged.entries)
        if (disorder := out_of_order(staged.header, staged.entries)) is not None:
            job.gap(
                "contents-out-of-order", f"{disorder.kind} {disorder.tag[:80]} stands before what it needs"
            )
        if staged.cut:
            job.whole = False
            job.note("dump-truncated", f"{len(staged.cut)} data files end early: {', '.join(staged.cut[:5])}")
        self._whole(job, staged, passes.whole)
        self._as_text(job, staged, passes.first)
        self._as_text(job, staged, passes.inserts)
        job.drain()
        # Never in one parallel run: it may create a partitioned table's trigger before a partition has its rows.
        data = [entry for entry in passes.main if entry.section == DATA]
        if self._source.kind is ArtifactKind.PG_DUMP_DIRECTORY:
            data = load_rows(self._context, job, staged, data)
        self._directly(job, staged, data)
        self._directly(job, staged, [entry for entry in passes.main if entry.section != DATA])
        self._as_text(job, staged, passes.last)
        job.drain()
        self._directly(job, staged, passes.views)
        job.bytes_read = staged.meter.opened
        job.complete = None if job.stopped else job.whole

    def _can_decompress(self, staged: Staged) -> bool:
        if self._source.kind is ArtifactKind.PG_DUMP_DIRECTORY:
            return True  # it was decompressed on the way
        return (
            staged.header.compression not in {"zstd", "lz4"}
            or staged.header.compression in self._context.features
        )

    def _sort(self, job: Job, entries: tuple[Entry, ...]) -> Passes:
        """Sort the entries into the passes; what the rules keep out is noted and goes nowhere."""
        passes = Passes()
        for entry in entries:
            if entry.kind in WHOLE or (entry.kind in LATER and entry.tag.startswith("DATABASE ")):
                passes.whole.append(entry)
            elif entry.kind in LATER:
                passes.last.append(entry)
            elif entry.kind == REFRESH:
                passes.views.append(entry)
            elif entry.section == PRE:
                passes.first.append(entry)
            elif entry.has_data and entry.kind == "TABLE DATA" and not entry.copy:
                passes.inserts.append(entry)
            elif entry.kind == "EVENT TRIGGER":
                passes.last.append(entry)  # as text, where the rules withhold it
            elif self._direct(job, entry):
                passes.main.append(entry)
        return passes

    def _whole(self, job: Job, staged: Staged, entries: Sequence[Entry]) -> None:
        """Take what the archive says of the database as a whole: read from what pg_restore itself makes of it."""
        if not entries or job.stopped:
            return
        names = {staged.header.database} - {""}
        lexer = SqlLexer()
        for piece in self._printed(job, staged, entries, "--create"):
            for event in lexer.feed(piece):
                self._of_database(job, event, names)
        for event in lexer.close():
            self._of_database(job, event, names)
        if len(names) > 1 and not job.stopped:
            detail = f"it calls its database {' and '.join(sorted(name[:80] for name in names))}"
            job.gap("database-names-differ", detail)

    def _of_database(self, job: Job, event: Event, names: set[str]) -> None:
        """Take one statement about the database; `names` are added that it is called by."""
        if isinstance(event, Command):
            word, _, rest = event.text.decode(errors="replace").partition(" ")
            target = database_name(rest.strip()) if word == "\\connect" and not event.inside else None
            if target is not None:
                names.add(target)
            elif event.inside or (event.text.split(None, 1) or [b""])[0] not in CONTROL:
                job.refuse(HOSTILE, "DATABASE: psql command", None, "never executed")
        elif isinstance(event, Flaw):
            job.flaw(event)
        elif isinstance(event, Statement):
            ruling = judge(event, server_version_num=self._context.version, features=())
            if ruling.action is Action.DATABASE:
                names.add(named_database(event) or "?")
                job.plan.take(event, ruling.kind)
            elif ruling.action is Action.GAP:
                job.gap(ruling.code, f"DATABASE: {ruling.detail}")
            elif ruling.kind not in {"SET", "SELECT set_config"}:
                job.refuse(HOSTILE, f"DATABASE: {ruling.kind}", None, "not what pg_dump writes here")

    def _direct(self, job: Job, entry: Entry) -> bool:
        """Judge an entry that pg_restore would execute itself; whether it may."""
        if entry.copy and [item.copies for item in statements(entry.copy) if isinstance(item, Statement)] != [
            True
        ]:
            job.refuse(HOSTILE, f"{entry.kind}: COPY", None, "not the form that pg_dump writes")
            return False
        if entry.kind in {"BLOB METADATA", "BLOB"} and not _LARGE_OBJECTS.fullmatch(
            f"{entry.tag}|{entry.definition}"
        ):
            # pg_restore puts tag and definition into its statements as they are.
            job.refuse(HOSTILE, f"{entry.kind}", None, "not what pg_dump writes here")
            return False
        allowed = True
        for text in ("" if entry.kind == "BLOB METADATA" else entry.definition, entry.copy):
            for statement in statements(text):
                allowed = self._statement(job, entry, statement) and allowed
        if entry.owner and allowed:
            allowed = job.ensure((entry.owner,))
        return allowed

    def _statement(self, job: Job, entry: Entry, statement: Statement | str) -> bool:
        if isinstance(statement, str):
            job.refuse(HOSTILE, f"{entry.kind}: {statement}", None, "never executed")
            return False
        ruling = judge(statement, server_version_num=self._context.version, features=self._context.features)
        if ruling.action is Action.FEED and not ruling.code:
            return job.ensure(ruling.roles)
        what = f"{entry.kind} {entry.tag[:80]}: {ruling.detail}"
        if ruling.action is Action.NOTE:
            job.note(ruling.code, what)
        elif ruling.action in {Action.GAP, Action.FEED}:
            job.gap(ruling.code, what)
        elif ruling.kind.startswith("DROP "):
            job.gap(
                UNEXPECTED, f"{entry.kind} {entry.tag[:80]}: {ruling.kind}: a dump in this format has none"
            )
        elif ruling.action is not Action.SKIP:
            job.refuse(
                HOSTILE, f"{entry.kind}: {ruling.kind}", None, ruling.detail or "not what pg_dump writes here"
            )
        return False

    # --- pg_restore -----------------------------------------------------------------------------------------------

    def _command(self, staged: Staged, entries: Sequence[Entry], *words: str) -> list[str | Path]:
        listing = self._folder / f"list-{os.urandom(4).hex()}"
        listing.write_text("".join(f"{entry.id};\n" for entry in entries), encoding="ascii")
        listing.chmod(0o600)
        give(self._folder, listing)
        return [
            self._context.server.installation.tool("pg_restore"),
            "--exit-on-error",
            "--no-tablespaces",
            "--no-subscriptions",
            f"--format={LETTERS[self._source.kind]}",
            f"--use-list={listing}",
            *words,
            staged.path,
        ]

    def _as_text(self, job: Job, staged: Staged, entries: Sequence[Entry]) -> None:
        """Have entries printed as text, and pass that through the rules."""
        if entries and not job.stopped:
            feed_text(job, self._printed(job, staged, entries))

    def _printed(self, job: Job, staged: Staged, entries: Sequence[Entry], *words: str) -> Iterator[bytes]:
        """Yield the text that pg_restore makes of entries; its failure is the job's."""
        argv = self._command(staged, entries, *words, "--file=-")
        process = tool_process(
            argv, self._context.server.endpoint, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        unwatch = job.watch(lambda _reason: end_process(process))
        messages = Messages(process)
        assert process.stdout is not None  # noqa: S101  (asked for above; narrows the type)
        with process.stdout as output:
            yield from iter(lambda: output.read(BLOCK), b"")
        code = process.wait()
        unwatch()
        if code and not job.stopped:
            job.fail(messages.failure(code))

    def _directly(self, job: Job, staged: Staged, entries: Sequence[Entry]) -> None:
        """Have entries restored into the database, by parallel sessions where the format allows it."""
        if not entries or job.stopped or not job.open():
            return
        endpoint = self._context.server.endpoint
        words = ["--no-password", f"--dbname={endpoint.conninfo(job.name, job.loading.role)}"]
        if self._source.kind is not ArtifactKind.PG_DUMP_TAR:
            words.append(f"--jobs={max(1, self._context.jobs)}")
        argv = self._command(staged, entries, *words)
        process = tool_process(argv, endpoint, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        reasons: list[str] = []

        def kill(reason: str) -> None:
            reasons.append(reason)
            end_process(process)

        unwatch = job.watch(kill)
        messages = Messages(process)
        code = process.wait()  # bounded by the watchdog
        unwatch()
        if reasons:
            job.fail(Failure(reasons[0], "pg_restore", "", None))
        elif code:
            job.fail(messages.failure(code))
