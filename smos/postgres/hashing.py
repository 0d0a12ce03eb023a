"""SQL that counts and hashes rows inside the server, whatever their order.

Each row is hashed by itself, under the settings of `smos.postgres.session`, and the hashes are *added*, so that order
and physical place do not matter while duplicates do. Sums of parts of a table add up to the sum of the table.

fast-2: two 64-bit hashes of the row's values with independent seeds, column by column (`smos.postgres.row_hash`), summed
without overflow. A change of rows goes unnoticed with a probability of about 2^-128; that holds for accidents, not for
somebody who constructs rows to that end, because the hash is not a cryptographic one. It may also differ between
machines of different byte order.

fast: the first version, of manifests made before version 2 was there: the row is turned into text by the server's own
`record_out` (never by a cast: a database may define one of its own), and hashed twice (`hashtextextended`). Same odds,
nearly twice the time. What a manifest holds is read again as the manifest says, so both can be compared.

sha256: SHA-256 of each row's text, its four 64-bit quarters summed without overflow. An accident goes unnoticed with
about 2^-256. To find one row that replaces another takes 2^128 steps or more; somebody who may replace very
many rows at will has an easier task (sums of hashes can be balanced by the birthday method), which a
signature over the dump's own SHA-256 prevents. It takes three to four times as long as fast-2 on PostgreSQL 18,
where bytes can be read as numbers, and twice that before; the sums are the same.
"""

# Whole clauses of SQL stay on one line.
# ruff: noqa: E501

from dataclasses import dataclass
from enum import StrEnum

from psycopg import sql

from smos.postgres.row_hash import Column, row_hash

SECOND_SEED = 0x5EED
PAGE_BYTES_OF_LARGE_OBJECTS = 2048
BYTES_AS_NUMBERS = 180000
"""Since this version bytea casts to bigint: big-endian, two's complement, as bit(64) does."""


class HashMode(StrEnum):
    """How rows are hashed; see the module's text."""

    FAST = "fast-2"
    FAST_1 = "fast"
    SHA256 = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One table, or a range of its pages, to be read once.

    key: index of the table in the caller's list. columns: those whose smallest and largest value are wanted.
    condition: SQL of an extension's configuration table (`WHERE …`), as the extension gave it. pages: first
    page and the page after the last (None: to the end); None reads everything. row: all columns, in the order of the
    table. toasted: some values lie outside of their rows.
    """

    key: int
    schema: str
    table: str
    columns: tuple[str, ...] = ()
    condition: str = ""
    pages: tuple[int, int | None] | None = None
    bytes: int = 0
    row: tuple[Column, ...]
    toasted: bool = False


def scan_query(scan: Scan, mode: HashMode, *, server_version_num: int = 0) -> sql.Composed:
    """Return a SELECT of one row: key, rows, the sums as text[], minima and maxima as text[].

    server_version_num: of the server that will run it, for what newer ones do faster.
    """
    numbers = server_version_num >= BYTES_AS_NUMBERS
    columns = [
        sql.SQL(", r.{} AS {}").format(sql.Identifier(column), sql.Identifier(f"c{n}"))
        for n, column in enumerate(scan.columns)
    ]
    if mode is HashMode.FAST:
        hashed = row_hash(scan.row, toasted=scan.toasted)
        items: sql.Composable = sql.SQL(", ").join(hashed.values)
        sums: sql.Composable = sql.SQL(", ").join(
            sql.SQL("coalesce(sum({}), 0)::text").format(hashed.with_seed(seed))
            for seed in (0, SECOND_SEED << 32)
        )
    else:
        # `r.*` is the whole row even where a column is called like the alias.
        items = sql.SQL('textin(record_out(r.*)) COLLATE "C" AS row_text')
        sums = _sums(mode, numbers=numbers)
    rows = sql.SQL("SELECT {}{} FROM ONLY {}.{} AS r{}").format(
        items,
        sql.SQL("").join(columns),
        sql.Identifier(scan.schema),
        sql.Identifier(scan.table),
        _where(scan),
    )
    extremes = sql.SQL(", ").join(
        sql.SQL("min({0})::text, max({0})::text").format(sql.Identifier(f"c{n}"))
        for n in range(len(scan.columns))
    )
    return sql.SQL(
        "SELECT {}::integer, count(*), ARRAY[{}]::text[], ARRAY[{}]::text[] FROM ({}) AS q"
    ).format(
        sql.Literal(scan.key),
        sums,
        extremes,
        _hashed(rows, mode, numbers=numbers, keep=len(scan.columns)),
    )


def _where(scan: Scan) -> sql.Composable:
    if scan.condition:
        return sql.SQL(" {}").format(sql.SQL(scan.condition))  # the extension's own text
    if scan.pages is None:
        return sql.SQL("")
    first, after = scan.pages
    clause = sql.SQL(" WHERE r.ctid >= {}::tid").format(sql.Literal(f"({first},0)"))
    if after is not None:
        clause += sql.SQL(" AND r.ctid < {}::tid").format(sql.Literal(f"({after},0)"))
    return clause


def _hashed(rows: sql.Composable, mode: HashMode, *, numbers: bool, keep: int) -> sql.Composable:
    # OFFSET 0 keeps the planner from merging the levels, which would turn a value into text once per hash.
    if mode is not HashMode.SHA256:
        return sql.SQL("{} OFFSET 0").format(rows)
    kept = sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(f"c{n}")) for n in range(keep))
    digest = "sha256(convert_to(row_text, getdatabaseencoding()))"
    return sql.SQL("SELECT {} AS digest{} FROM ({} OFFSET 0) AS t OFFSET 0").format(
        sql.SQL(digest if numbers else f"encode({digest}, 'hex')"), kept, rows
    )


def _sums(mode: HashMode, *, numbers: bool) -> sql.Composable:
    if mode is not HashMode.SHA256:
        return sql.SQL(
            "coalesce(sum(hashtextextended(q.row_text, 0)), 0)::text,"
            " coalesce(sum(hashtextextended(q.row_text, {})), 0)::text"
        ).format(sql.Literal(SECOND_SEED))
    if numbers:
        return sql.SQL(", ").join(
            sql.SQL("coalesce(sum(substr(q.digest, {}, 8)::bigint), 0)::text").format(
                sql.Literal(1 + 8 * lane)
            )
            for lane in range(4)
        )
    return sql.SQL(", ").join(
        sql.SQL("coalesce(sum(('x' || substr(q.digest, {}, 16))::bit(64)::bigint), 0)::text").format(
            sql.Literal(1 + 16 * lane)
        )
        for lane in range(4)
    )


def large_object_query(mode: HashMode) -> sql.Composed:
    """Return a SELECT of one row: number of large objects, bytes, sums of the pages, sums of the sizes.

    A page is hashed with its object's OID and its number, filled up with zeros; pages of zeros only are left
    out (a sparse object is stored with holes, and restored without). Needs to read pg_largeobject: a
    superuser.
    """
    empty = sql.SQL("decode(repeat('00', {}), 'hex')").format(sql.Literal(PAGE_BYTES_OF_LARGE_OBJECTS))
    pages = sql.SQL(
        "SELECT (p.loid::text || ':' || p.pageno::text || ':' || encode(p.page, 'hex')) COLLATE \"C\" AS row_text"
        " FROM (SELECT l.loid, l.pageno, l.data || substr({0}, 1 + length(l.data)) AS page FROM pg_largeobject AS l"
        " OFFSET 0) AS p WHERE p.page <> {0}"
    ).format(empty)
    sizes = sql.SQL(
        "SELECT (m.oid::text || ':' || coalesce(s.bytes, 0)::text) COLLATE \"C\" AS row_text, coalesce(s.bytes, 0) AS c0"
        " FROM pg_largeobject_metadata AS m LEFT JOIN (SELECT l.loid, max(l.pageno::bigint * {} + length(l.data)) AS"
        " bytes FROM pg_largeobject AS l GROUP BY l.loid) AS s ON s.loid = m.oid"
    ).format(sql.Literal(PAGE_BYTES_OF_LARGE_OBJECTS))
    return sql.SQL(
        "SELECT s.n, s.bytes, p.sums, s.sums FROM (SELECT ARRAY[{0}]::text[] AS sums FROM ({1}) AS q) AS p,"
        " (SELECT count(*) AS n, coalesce(sum(q.c0), 0)::bigint AS bytes, ARRAY[{0}]::text[] AS sums FROM ({2}) AS q) AS s"
    ).format(
        _sums(mode, numbers=False),
        _hashed(pages, mode, numbers=False, keep=0),
        _hashed(sizes, mode, numbers=False, keep=1),
    )
