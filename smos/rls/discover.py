"""Reads what isolation depends on, in a read-only transaction that is rolled back."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from smos.errors import AuthenticationError, ProvisionError, TargetError, UnreachableError
from smos.rls import catalogue_sql as queries
from smos.rls.schema import (
    Column,
    Condition,
    DefaultPrivilege,
    ForeignKey,
    Function,
    LargeObjects,
    Policy,
    Relation,
    Role,
    Schema,
    Sequence,
    Unique,
)

OLDEST = 150000
CONNECT_S = 10


@contextmanager
def connect(conninfo: str) -> "Iterator[psycopg.Connection[Any]]":
    """Connect and close again. Raises TargetError, AuthenticationError, UnreachableError, never with a password."""
    try:
        info = psycopg.conninfo.conninfo_to_dict(conninfo)
    except psycopg.Error:  # its text may quote the password
        raise TargetError(
            "The connection string is malformed",
            remedy="write postgresql://role@host/database, or leave it out and set PGHOST, PGUSER, PGDATABASE",
        ) from None
    info.setdefault("connect_timeout", CONNECT_S)
    info.setdefault("application_name", "smos rls")
    info["client_encoding"] = "UTF8"  # whatever the database's own is: names and documents are read as text
    try:
        connection = psycopg.connect(**info)  # type: ignore[arg-type]  # libpq's keywords are open
    except psycopg.Error as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if secret := str(info.get("password") or ""):
            text = text.replace(secret, "…")
        remedy = "check host, port, database and role; give the password in ~/.pgpass or PGPASSWORD"
        if re.search(r"password|authentication|pg_hba|role .* does not exist", text):
            raise AuthenticationError(f"The database refused the login: {text}", remedy=remedy) from None
        raise UnreachableError(f"The database can't be reached: {text}", remedy=remedy) from None
    try:
        yield connection
    finally:
        connection.close()


def discover(conninfo: str) -> Schema:
    """Read the database behind this connection string. Raises SmosError; ProvisionError below PostgreSQL 15."""
    with connect(conninfo) as connection:
        return discover_on(connection)


def discover_on(connection: "psycopg.Connection[Any]", *, timeout_s: float = 60) -> Schema:
    """Read the database of a connection that is outside of a transaction, or in one of its own (it is kept)."""
    version = connection.info.server_version
    if version < OLDEST:
        raise ProvisionError(
            f"PostgreSQL {version // 10000} is older than 15",
            remedy="views with security_invoker and MERGE begin with version 15: probe a copy on a newer server",
        )
    with _reading(connection, timeout_s) as cursor:
        try:
            return _read(cursor, version)
        except UnicodeDecodeError:
            raise ProvisionError(
                "The catalogue holds names that are no UTF-8, in a database without an encoding (SQL_ASCII)",
                remedy="rename them, or probe a copy in a database with the encoding that was meant",
            ) from None


def read_counters(connection: "psycopg.Connection[Any]", *, timeout_s: float = 60) -> dict[int, str | None]:
    """Return the state of every sequence by its OID, as `Sequence.state` gives it; nothing else is read."""
    with _reading(connection, timeout_s) as cursor:
        rows = cursor.execute(queries.SEQUENCES.encode(), {"roles": []}).fetchall()
    return {row["oid"]: row["state"] for row in rows}


@contextmanager
def _reading(
    connection: "psycopg.Connection[Any]", timeout_s: float
) -> "Iterator[psycopg.Cursor[dict[str, Any]]]":
    """Give a cursor in a transaction that is rolled back, in which names read the same whoever asks."""
    with connection.transaction(force_rollback=True), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        cursor.execute("SET LOCAL quote_all_identifiers = off")
        cursor.execute("SET LOCAL jit = off")
        cursor.execute(f"SET LOCAL statement_timeout = {int(timeout_s * 1000)}".encode())
        cursor.execute(b"SET LOCAL lock_timeout = 5000")
        yield cursor


def _read(cursor: "psycopg.Cursor[dict[str, Any]]", version: int) -> Schema:
    def rows(query: str, **parameters: Any) -> list[dict[str, Any]]:
        return cursor.execute(query.encode(), parameters or None).fetchall()

    general = rows(queries.FACTS)[0]
    new = version >= 160000
    options = {
        "set_option": "m.set_option" if new else "true",
        "inherit_option": "m.inherit_option" if new else "true",
    }
    roles = {row["name"]: Role(**_frozen(row)) for row in rows(queries.ROLES.format(**options))}
    names = [name for name, role in roles.items() if not role.superuser]
    relations = _relations(rows, names)
    functions = {
        row["oid"]: Function(
            **{**_frozen(row), "arguments": tuple((name, kind) for name, kind in row["arguments"])}
        )
        for row in rows(queries.FUNCTIONS, roles=names)
    }
    sequences = {
        row["oid"]: Sequence(
            **{**row, "rights": {role: frozenset(rights) for role, rights in row["rights"].items()}}
        )
        for row in rows(queries.SEQUENCES, roles=names)
    }
    others = rows(queries.OTHER_RIGHTS, roles=names)
    return Schema(
        database=general["database"],
        version_num=version,
        user=general["user"],
        superuser=general["superuser"],
        roles=roles,
        relations=relations,
        functions=functions,
        sequences=sequences,
        default_privileges=tuple(
            DefaultPrivilege(**_frozen(row)) for row in rows(queries.DEFAULT_PRIVILEGES)
        ),
        large_objects=tuple(LargeObjects(**_frozen(row)) for row in rows(queries.LARGE_OBJECTS)),
        context_defaults=tuple((row["role"], row["setting"]) for row in rows(queries.CONTEXT_DEFAULTS)),
        settings=general["settings"],
        extensions=tuple(general["extensions"]),
        publications=tuple((row["name"], tuple(row["tables"])) for row in rows(queries.PUBLICATIONS)),
        statistics_readers=tuple(row["role"] for row in others if row["statistics"]),
        creators={row["role"]: tuple(row["creates"]) for row in others if row["creates"]},
        volatile=frozenset(item.name for item in functions.values() if item.volatility == "v"),
        can_connect=tuple(row["role"] for row in others if row["connect"]),
    )


def _relations(rows: Any, names: list[str]) -> dict[int, Relation]:
    parts: dict[str, defaultdict[int, list[Any]]] = {
        key: defaultdict(list)
        for key in ("columns", "uniques", "foreign_keys", "conditions", "policies", "reads", "index_leads")
    }
    for row in rows(queries.COLUMNS):
        oid, identity = row.pop("relation"), row.pop("identity")
        if identity:
            row["default"] = row["default"] or "identity"
        parts["columns"][oid].append(Column(**_frozen(row)))
    for row in rows(queries.INDEXES):
        if row["lead"] is not None:
            parts["index_leads"][row["relation"]].append(row["lead"])
        loose = row["expressions"] or row["partial"] or row["exclusion"]
        names_of_it = dict.fromkeys([*row["columns"], *row["mentioned"]]) if loose else row["columns"]
        if row["unique"] and names_of_it:
            parts["uniques"][row["relation"]].append(
                Unique(name=row["name"], columns=tuple(names_of_it), primary=row["primary"], loose=loose)
            )
    for row in rows(queries.CONSTRAINTS):
        if row["kind"] == "f":
            key = ForeignKey(
                name=row["name"],
                columns=tuple(row["columns"]),
                parent=row["parent"],
                parent_columns=tuple(row["parent_columns"]),
            )
            if not any(other.columns == key.columns and other.parent == key.parent
                       for other in parts["foreign_keys"][row["relation"]]):  # fmt: skip
                parts["foreign_keys"][row["relation"]].append(key)
        else:
            parts["conditions"][row["relation"]].append(
                Condition(name=row["name"], columns=tuple(row["columns"]), expression=row["expression"])
            )
    for row in rows(queries.POLICIES):
        parts["policies"][row.pop("relation")].append(Policy(**_frozen(row)))
    for row in rows(queries.VIEW_READS):
        parts["reads"][row["relation"]].append(row["reads"])
    rights: defaultdict[int, dict[str, frozenset[str]]] = defaultdict(dict)
    granted: defaultdict[int, dict[str, frozenset[str]]] = defaultdict(dict)
    columns: defaultdict[int, dict[str, dict[str, tuple[str, ...]]]] = defaultdict(dict)
    for row in rows(queries.RIGHTS, roles=names):
        rights[row["relation"]][row["role"]] = frozenset(row["rights"])
    for row in rows(queries.GRANTED):
        granted[row["relation"]][row["role"]] = frozenset(row["rights"])
    for row in rows(queries.COLUMN_RIGHTS, roles=names):
        columns[row["relation"]].setdefault(row["role"], {})[row["right"]] = tuple(row["columns"])
    found: dict[int, Relation] = {}
    for row in rows(queries.RELATIONS):
        oid = row["oid"]
        found[oid] = Relation(
            **_frozen(row),
            **{key: tuple(values[oid]) for key, values in parts.items()},  # type: ignore[arg-type]  # from rows
            rights=rights[oid],
            granted=granted[oid],
            column_rights=columns[oid],
        )
    return found


def _frozen(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
