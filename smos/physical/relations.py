"""Whether the files of a recovered cluster are those that its catalogue names: there, long enough, without blank pages.

What neither a manifest (it may have been made anew) nor page checksums (a page of zeros has none, nor has one that is
not there) nor amcheck (a heap without its end is a heap) can tell. Three witnesses:

- the catalogue: every permanent relation has a file; an index and a sequence have at least one page; later segments
  follow full ones; before PostgreSQL 18 a table or index is not shorter than `relpages`, which only VACUUM, ANALYZE and
  CREATE INDEX write (from 18 on a restored dump brings it along);
- the visibility map: it speaks of no page behind the end of its table;
- and of none that does not say itself that all its rows are visible to everybody, as blank pages don't.

Everything is asked of the sandbox by SQL, so that it can be asked wherever the sandbox's files lie.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from posixpath import dirname
from typing import TYPE_CHECKING, Any

from smos.postgres.names import qualified
from smos.postgres.soundness import CHECK_TIMEOUT_S
from smos.verdict import Problem

if TYPE_CHECKING:
    import psycopg

LISTED = 20
"""Blocks of one database that are named."""
IMPORTED_SINCE = 180000
"""Since then `pg_restore` brings relpages of the source along."""
FIRST_OWN = 16384
"""Relations below are the system's; some of them are rewritten without a new `relpages`."""
PAGE_HEADER = 24
PAGE = 8192
_PER_PAGE = (PAGE - PAGE_HEADER) * 4
"""Blocks that one page of a visibility map tells of, two bits each. Source: src/backend/access/heap/visibilitymap.c."""

_RELATIONS = b"""
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.relpages,
    coalesce(i.indisready, true), pg_relation_filepath(c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
WHERE pg_relation_filenode(c.oid) IS NOT NULL AND c.relpersistence <> 't' ORDER BY 1
"""
_FILES = b"""
SELECT d || '/' || f, (pg_stat_file(d || '/' || f, true)).size
FROM unnest(%s::text[]) AS d, pg_ls_dir(d, true, false) AS f
"""
_MAPS = b"SELECT p, pg_read_binary_file(p || '_vm') FROM unnest(%s::text[]) AS p"
# Blocks that the map calls visible to all, and whose page header lacks PD_ALL_VISIBLE (0x0004 of the flags at byte 10).
_CONTRADICTED = f"""
SELECT r.path, b FROM unnest(%s::text[], %s::bigint[]) AS r(path, blocks),
    LATERAL (SELECT pg_read_binary_file(r.path || '_vm') AS bits OFFSET 0) AS v,
    LATERAL generate_series(0, least(r.blocks, length(v.bits) / {PAGE} * {_PER_PAGE}) - 1) AS b
WHERE CASE WHEN get_byte(v.bits, (b / {_PER_PAGE} * {PAGE} + {PAGE_HEADER} + b %% {_PER_PAGE} / 4)::int)
        >> (b %% 4 * 2)::int & 1 = 1
    THEN get_byte(pg_read_binary_file(r.path || CASE WHEN b < %s THEN '' ELSE '.' || b / %s END,
        b %% %s * {PAGE}, 12), 10) & 4 = 0 ELSE false END
ORDER BY 1, 2 LIMIT {LISTED + 1}
""".encode()  # noqa: S608  (constants of ours only)


@dataclass(frozen=True, slots=True)
class Relation:
    """One row of pg_class that has a file. pages: relpages; path: of its first file, below the data directory."""

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    pages: int
    ready: bool
    path: str

    @property
    def label(self) -> str:
        """Return what people call it."""
        words = {"i": "index", "S": "sequence", "m": "materialized view"}
        return f"{words.get(self.kind, 'table')} {qualified(self.schema, self.name)}"


def check_relations(connection: "psycopg.Connection[Any]") -> tuple[Problem, ...]:
    """Look at the files of one database of a sandbox that nobody else uses. Raises psycopg.Error.

    Codes: relation-missing, relation-short, page-blank.
    """
    # A hostile map may speak of billions of blocks.
    connection.execute("SELECT set_config('statement_timeout', %s, false)", (f"{CHECK_TIMEOUT_S}s",))
    connection.execute(b"CHECKPOINT")  # the files, not the buffers, are looked at
    with connection.cursor(binary=True) as cursor:
        cursor.execute(
            b"SELECT setting::bigint, current_setting('block_size')::int, current_setting('server_version_num')::int"
            b" FROM pg_settings WHERE name = 'segment_size'"
        )
        per_segment, block, version = cursor.fetchone() or (0, 0, 0)
        relations = [Relation(*row) for row in cursor.execute(_RELATIONS).fetchall()]
        folders = sorted({dirname(item.path) for item in relations})
        files = {
            str(path): int(size) for path, size in cursor.execute(_FILES, (folders,)) if size is not None
        }
        problems = list(judge_files(relations, files, per_segment * block, block, version))
        if block == PAGE:
            problems += _visible(cursor, relations, files, per_segment)
    return tuple(problems)


def judge_files(
    relations: Iterable[Relation], files: Mapping[str, int], segment: int, block: int, version: int
) -> Iterator[Problem]:
    """Compare the catalogue with the files that are there. files: path to size; segment, block: bytes."""
    for item in relations:
        sizes = _parts(item.path, files)
        if not sizes:
            yield Problem("relation-missing", f"{item.label}: its file {item.path} is not there")
            continue
        if any(part % block for part in sizes):
            yield Problem("relation-short", f"{item.label}: a file of {item.path} ends within a page")
        lost = next((n for n, part in enumerate(sizes[:-1]) if part < segment and any(sizes[n + 1 :])), None)
        if lost is not None:
            yield Problem(
                "relation-short", f"{item.label}: {item.path} goes on after part {lost}, which is not full"
            )
        later = [name for name in (f"{item.path}.{len(sizes) + n}" for n in range(1, 9)) if files.get(name)]
        if later:
            yield Problem(
                "relation-missing", f"{item.label}: {later[0]} is there, and the part before it is not"
            )
        if not sizes[0] and item.ready and item.kind in {"i", "S"}:
            yield Problem("relation-short", f"{item.label}: its file {item.path} is empty")
        elif _shorter(item, sum(sizes) // block, version):
            detail = f"{item.label} holds {sum(sizes) // block} pages, and had {item.pages} when they were last counted"
            yield Problem("relation-short", detail)


def _shorter(item: Relation, blocks: int, version: int) -> bool:
    known = version < IMPORTED_SINCE and item.oid >= FIRST_OWN and item.persistence == "p"
    return known and item.kind in {"r", "m", "t", "i"} and blocks < item.pages


def told_of(bits: bytes) -> int:
    """Return one more than the last block that a visibility map speaks of; 0 for an empty one."""
    for page in range(len(bits) // PAGE - 1, -1, -1):
        told = bits[page * PAGE + PAGE_HEADER : (page + 1) * PAGE].rstrip(b"\0")
        if told:
            return page * _PER_PAGE + (len(told) - 1) * 4 + (told[-1].bit_length() + 1) // 2
    return 0


def _visible(
    cursor: "psycopg.Cursor[Any]", relations: Iterable[Relation], files: Mapping[str, int], per_segment: int
) -> Iterator[Problem]:
    """Compare each table with its visibility map."""
    mapped = {
        item.path: item
        for item in relations
        if item.persistence == "p" and item.path in files and files.get(f"{item.path}_vm", 0) >= PAGE
    }
    blocks = {path: sum(_parts(path, files)) // PAGE for path in mapped}
    for path, bits in cursor.execute(_MAPS, (list(mapped),)):
        last = told_of(bits)
        if last > blocks[path]:
            detail = (
                f"{mapped[path].label} holds {blocks[path]} pages, and its visibility map speaks of {last}"
            )
            yield Problem("relation-short", detail)
    found = cursor.execute(
        _CONTRADICTED, (list(blocks), list(blocks.values()), per_segment, per_segment, per_segment)
    ).fetchall()
    for path, number in found[:LISTED]:
        detail = (
            f"{mapped[path].label}, block {number}: blank or another page than its visibility map speaks of"
        )
        yield Problem("page-blank", detail)
    if len(found) > LISTED:
        yield Problem("page-blank", "and more pages")


def _parts(path: str, files: Mapping[str, int]) -> list[int]:
    """Return the sizes of a relation's parts, in order, up to the first that is not there."""
    sizes: list[int] = []
    while (size := files.get(f"{path}.{len(sizes)}" if sizes else path)) is not None:
        sizes.append(size)
    return sizes
