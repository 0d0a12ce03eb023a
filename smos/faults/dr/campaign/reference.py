"""The oracle of the campaign: PostgreSQL's own tools and GNU tar restore what was damaged, and say whether it differs.

Nothing of the product reads or compares here. Two databases are the same when pg_dump writes the same of both, with
rows, rights and objects in any order; two volumes when names, types, bytes, modes, owners, links and attributes are.
"""

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg
import zstandard
from psycopg import sql

from smos.errors import BackupError
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner

Restore = Callable[[], bool]
TOOL_S = 120
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
QUIET = {"PGOPTIONS": "-c client_min_messages=warning"}
ENTRANCE = "entrance"
KEEPER = "reference_keeper"
"""Who looks at the roles and takes them away again: damaged globals may take `postgres` its login."""
_OTHER_ROLES = (
    f"SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname NOT IN ('postgres', '{KEEPER}')"  # noqa: S608
)
_AS_INITDB_MAKES_IT = (
    "ALTER ROLE postgres WITH SUPERUSER CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS INHERIT"
)
_SETVAL = re.compile(
    r"SELECT pg_catalog\.setval\('(?P<name>.*)', (?P<value>-?\d+), (?P<called>true|false)\);"
)
_NOISE = re.compile(
    r"(?:SET default_(?:tablespace|table_access_method) = .*|\\(?:un)?restrict .*|-- .*|--|\\connect .*"
    # What initdb says of its own schema; not every pg_dump tells where it was taken away.
    r"|COMMENT ON SCHEMA public IS '(?:standard public schema)?';)?"
)
_PER_OBJECT = {"BLOB METADATA": re.compile("\n"), "BLOBS": re.compile(r"\n(?=SELECT pg_catalog\.lo_open)")}
_HEAD = re.compile(r"^-- (?:Data for )?Name: .*; Type: (?P<kind>[A-Z ]+); Schema: ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Portrait:
    """What a database holds, as pg_dump writes it. blocks: its statements, sorted. positions: of its sequences."""

    blocks: tuple[str, ...]
    positions: Mapping[str, tuple[int, bool]]


def portrait(text: str) -> Portrait:
    """Take a plain dump (with --create) apart: rows, rights and objects sorted, sequences apart."""
    blocks: list[str] = []
    positions: dict[str, tuple[int, bool]] = {}
    starts = [match.start() for match in _HEAD.finditer(text)] or [0]
    kinds = ["", *(match["kind"] for match in _HEAD.finditer(text))]
    for kind, start, end in zip(kinds, [0, *starts], [*starts, len(text)], strict=False):
        lines = text[start:end].splitlines()
        if kind == "TABLE DATA":
            lines.sort()
        elif kind in {"ACL", "DEFAULT ACL"}:
            # One statement a line; rights of one role are written together, in the order of the grants.
            lines = sorted(part for line in lines for part in _rights(line))
        elif kind == "SEQUENCE SET":
            for line in lines:
                if match := _SETVAL.fullmatch(line):
                    positions[match["name"]] = (int(match["value"]), match["called"] == "true")
            continue
        lines = [line for line in lines if not _NOISE.fullmatch(line)]
        if kind == "BLOBS":
            lines = [line for line in lines if line not in {"BEGIN;", "COMMIT;"}]
        # Large objects stand together where owner and rights are the same; each is a thing of its own.
        parts = _PER_OBJECT.get(kind)
        body = "\n".join(lines)
        blocks += [block for block in (parts.split(body) if parts else [body]) if block]
    return Portrait(tuple(sorted(blocks)), positions)


def _rights(line: str) -> list[str]:
    found = re.fullmatch(r"(?P<verb>GRANT|REVOKE) (?P<rights>[A-Z, ]+) ON (?P<rest>.*)", line)
    if found is None:
        return [line]
    return [f"{found['verb']} {right} ON {found['rest']}" for right in found["rights"].split(",")]


class Reference:
    """A server of its own in which dumps are restored by psql and pg_restore, as a person would do by hand.

    globals_: SQL of the roles that the dumps need. Starts with the first question.
    """

    def __init__(self, owner: Owner, globals_: Path) -> None:
        self._owner = owner
        self._globals = globals_
        self._server: EmbeddedPostgres | None = None
        self._place: Path | None = None
        self._roles: EmbeddedPostgres | None = None

    @property
    def server(self) -> EmbeddedPostgres:
        """The running server, which has the roles of the backup."""
        if self._server is None:
            server = EmbeddedPostgres(self._owner, name="reference", settings=SETTINGS, memory=True)
            server.start()
            self._server = server
            self._place = self._owner.directory("reference-files", memory=True)
            roles = zstandard.ZstdDecompressor().stream_reader(self._globals.read_bytes()).read()
            self._psql(roles, "postgres")
        return self._server

    def of_plain(self, text: bytes, name: str) -> tuple[Portrait | None, bool]:
        """Restore a plain dump (made with --create) of the database `name`; see `_restored`."""
        return self._restored(name, lambda: self._psql(text, ENTRANCE))

    def of_archive(
        self, data: bytes | Mapping[str, bytes], name: str, *options: str
    ) -> tuple[Portrait | None, bool]:
        """Restore a dump in custom or tar format, or in directory format: its decompressed files, by name.

        options: of pg_restore.
        """
        with self._placed(data) as place:
            into = self.server.endpoint.conninfo(ENTRANCE)
            return self._restored(
                name, lambda: self._tool("pg_restore", "--create", *options, "-d", into, str(place))
            )

    @contextmanager
    def _placed(self, data: bytes | Mapping[str, bytes]) -> Iterator[Path]:
        """Lay a dump where the server's user can read it."""
        assert self.server is not None and self._place is not None  # noqa: S101, PT018  (made with the server)
        place = self._place / "dump"
        if isinstance(data, bytes):
            place.write_bytes(data)
        else:
            place.mkdir()
            for file, part in data.items():
                (place / file).write_bytes(part)
        for path in (place, *place.rglob("*")):
            self._owner.give(path)
        try:
            yield place
        finally:
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink()

    def listing(self, data: bytes | Mapping[str, bytes]) -> bytes:
        """Return what pg_restore says of the table of contents of a dump in an archive format."""
        with self._placed(data) as place:
            tool = self.server.installation.tool("pg_restore")
            return self._owner.run([tool, "--list", place], timeout_s=TOOL_S, check=False).stdout

    def of_globals(self, text: bytes) -> tuple[tuple[str, ...], int]:
        """Run globals in a server that knows no role; return what pg_dumpall says then, and how many errors."""
        if self._roles is None:
            self._roles = EmbeddedPostgres(
                self._owner, name="reference-roles", settings=SETTINGS, memory=True
            )
            self._roles.start()
            with psycopg.connect(self._roles.endpoint.conninfo(), autocommit=True) as connection:
                connection.execute(f"CREATE ROLE {KEEPER} SUPERUSER LOGIN".encode())
        server = self._roles
        tool, env = server.installation.tool, server.endpoint.env()
        done = self._owner.run(
            [tool("psql"), "-X", "-q", "-d", server.endpoint.conninfo("postgres"), "-f", "-"],
            timeout_s=TOOL_S, env={**env, **QUIET}, input=text, cwd=server.data_dir, check=False,
        )  # fmt: skip
        said = self._owner.run(
            [tool("pg_dumpall"), "--globals-only", "-d", server.endpoint.conninfo("postgres", user=KEEPER)],
            timeout_s=TOOL_S, env=env,
        ).stdout.decode(errors="surrogateescape")  # fmt: skip
        lines = [line for line in said.splitlines() if not _NOISE.fullmatch(line)]
        with psycopg.connect(
            server.endpoint.conninfo("postgres", user=KEEPER), autocommit=True
        ) as connection:
            for (name,) in connection.execute(_OTHER_ROLES).fetchall():
                for statement in ("DROP OWNED BY {}", "DROP ROLE {}"):
                    connection.execute(sql.SQL(statement).format(sql.Identifier(str(name))))
            connection.execute("ALTER ROLE postgres RESET ALL")
            connection.execute("ALTER ROLE ALL RESET ALL")
            connection.execute("COMMENT ON ROLE postgres IS NULL")
            connection.execute(_AS_INITDB_MAKES_IT)  # it may have lost its login
        # The sandbox has an administrator of its own: what `postgres` may is not compared, nor who looks here.
        kept = sorted(
            line for line in lines if not line.startswith("ALTER ROLE postgres WITH") and KEEPER not in line
        )
        return tuple(kept), done.stderr.count(b"ERROR:")

    def of_database(self, server: EmbeddedPostgres, name: str) -> Portrait:
        """Return what the database `name` of `server` holds. Raises BackupError."""
        done = self._owner.run(
            [
                server.installation.tool("pg_dump"), "--create", "--no-password",
                f"--dbname={server.endpoint.conninfo(name)}",
            ],
            timeout_s=TOOL_S, env=server.endpoint.env(), check=False,
        )  # fmt: skip
        if done.returncode:
            raise BackupError("pg_dump failed", log=done.stderr.decode(errors="replace")[-2000:])
        return portrait(done.stdout.decode(errors="surrogateescape"))

    def _restored(self, name: str, restore: Restore) -> tuple[Portrait | None, bool]:
        """Return what came back (None: nothing of this name) and whether it did so without an error."""
        with self._connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(ENTRANCE)))
        try:
            clean = restore()
            if not self._databases() >= {name}:
                return None, clean
            return self.of_database(self.server, name), clean
        finally:
            with self._connect("postgres") as connection:
                for found in sorted(self._databases() - {"postgres"}):
                    quoted = sql.Identifier(found)
                    connection.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(quoted))
                    connection.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(quoted))

    def _databases(self) -> set[str]:
        with self._connect("postgres") as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE datname !~ '^template[01]$'"
            ).fetchall()
        return {str(row[0]) for row in rows}

    def _psql(self, text: bytes, database: str) -> bool:
        words = ("psql", "-X", "-q", "-d", self.server.endpoint.conninfo(database), "-f", "-")
        return self._tool(*words, text=text)

    def _tool(self, name: str, *words: str, text: bytes = b"") -> bool:
        """Run a client as the server's user, in a directory of its own; return whether it said nothing."""
        server = self.server
        done = self._owner.run(
            [server.installation.tool(name), *words],
            timeout_s=TOOL_S, env={**server.endpoint.env(), **QUIET}, input=text, cwd=self._place, check=False,
        )  # fmt: skip
        return done.returncode == 0 and not done.stderr.strip()

    def _connect(self, name: str) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.server.endpoint.conninfo(name), autocommit=True)


HOST_LABELS = frozenset({"security.selinux", "security.ima", "security.evm"})
"""Attributes that the policy of the host makes for each file: no part of a volume."""


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Return every entry of a volume with all that counts. Not the times: no service depends on them."""
    found: dict[str, tuple[object, ...]] = {}
    linked: dict[tuple[int, int], list[str]] = {}
    for path in (root, *sorted(root.rglob("*"))):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content: object = ""
        if stat.S_ISREG(kind):
            content = sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(kind):
            content = os.readlink(path)  # noqa: PTH115  (a Path would tidy it up)
        elif stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
            content = status.st_rdev
        names = os.listxattr(path, follow_symlinks=False) if hasattr(os, "listxattr") else []
        attributes = tuple((name, _attribute(path, name)) for name in sorted(set(names) - HOST_LABELS))
        mode = 0 if stat.S_ISLNK(kind) else stat.S_IMODE(status.st_mode)
        name = str(path.relative_to(root))
        found[name] = (kind, mode, status.st_uid, status.st_gid, content, attributes)
        if stat.S_ISREG(kind) and status.st_nlink > 1:
            linked.setdefault((status.st_dev, status.st_ino), []).append(name)
    for names_ in linked.values():
        for name in names_:
            found[name] += tuple(names_)
    return found


def _attribute(path: Path, name: str) -> bytes | None:
    """Return an attribute's value; None: it is there and can't be read, as file capabilities without a value."""
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        return None
