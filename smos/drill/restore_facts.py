"""What is recorded of a restore. Facts only; `smos.checks.dr.restore` judges them."""

from dataclasses import dataclass
from pathlib import Path

from smos.backup.model import ArtifactKind
from smos.drill.sandbox import SandboxFacts
from smos.verdict import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpSource:
    """One dump to restore.

    database: its database's name, None where the dump itself says it (pg_dumpall, archives, `--create`).
    compression: none, gzip, zstd, bzip2 or xz, around the whole file. extensions: (name, version) that the source
    had, where a manifest says it.
    """

    database: str | None
    kind: ArtifactKind
    path: Path
    compression: str = "none"
    extensions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreError:
    """A statement that failed. Never the server's message: it may quote a row.

    code: SQLSTATE, or a word where there is none. kind: of the statement, e.g. "CREATE TABLE". subject: the object,
    a name from the schema. line: in the dump's text (None for archives). attributed: code of the sandbox's gap that
    explains it, empty when nothing excuses it.
    """

    code: str
    kind: str
    subject: str = ""
    line: int | None = None
    attributed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRestore:
    """How one database came back.

    artifact: file name. restored: everything was executed without an error. complete: the dump was whole (trailer,
    or every part of the archive was read); None where it was not read to its end. seconds: from the first byte until
    the owner and rights were set. bytes_read: of SQL text, or of the archive as stored. errors, refused, gaps, notes:
    at most 50 each. dumped_from, dump_tool: versions as the dump names them, empty when it does not. left_out:
    objects that the dump creates and a gap of the sandbox left out, as "KIND name"; at most 10,000.
    """

    name: str
    artifact: str
    kind: ArtifactKind
    restored: bool
    complete: bool | None
    seconds: float
    bytes_read: int
    errors: tuple[RestoreError, ...]
    refused: tuple[Problem, ...]
    gaps: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    dumped_from: str
    dump_tool: str
    server_version: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WithheldRole:
    """Rights that the backup gives to a role and the sandbox does not: attributes, and memberships in `roles`."""

    name: str
    attributes: tuple[str, ...]
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreFacts:
    """How everything came back. problems: what belongs to no single database. seconds: of the whole.

    harness_roles: roles of the sandbox itself that remain: no comparison with the source counts them.
    """

    databases: tuple[DatabaseRestore, ...]
    roles_created: tuple[str, ...]
    roles_withheld: tuple[WithheldRole, ...]
    sandbox: SandboxFacts
    problems: tuple[Problem, ...]
    seconds: float
    harness_roles: tuple[str, ...] = ()
