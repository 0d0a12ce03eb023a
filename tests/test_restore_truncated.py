"""A dump that was cut, anywhere, is never reported as restored and complete."""

import gzip
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import zstandard

from smos.backup.model import ArtifactKind
from smos.checks.dr.restore import restore_findings
from smos.drill.restore import DumpSource
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.verdict import Verdict
from tests import _restore_kit as kit

CONTENT = """
CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a SELECT g, md5(g::text) FROM generate_series(1, 700) g;
CREATE TABLE b (id int REFERENCES a, t text); INSERT INTO b SELECT g, 'row ' || g FROM generate_series(1, 700) g;
CREATE VIEW v AS SELECT * FROM a; CREATE INDEX i ON b (t); CREATE SEQUENCE s; SELECT nextval('s');
SELECT lo_from_bytea(77, decode(repeat('00ff', 3000), 'hex'));
COMMENT ON TABLE a IS 'the end';
"""


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-truncated") as owner:
        yield owner


@pytest.fixture(scope="module")
def source(owner: Owner) -> EmbeddedPostgres:
    server = EmbeddedPostgres(owner, name="source", memory=True, settings={"fsync": "off"})
    server.start()
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE small")
    with psycopg.connect(server.endpoint.conninfo("small"), autocommit=True) as connection:
        connection.execute(CONTENT)
    return server


@pytest.fixture(scope="module")
def sandboxes(owner: Owner) -> kit.Sandboxes:
    return kit.Sandboxes(owner)


@pytest.fixture
def sandbox(sandboxes: kit.Sandboxes) -> EmbeddedPostgres:
    return sandboxes.take()


def offsets(size: int, count: int) -> list[int]:
    """Return places to cut: near both ends, and spread."""
    chosen = random.Random(4711)  # noqa: S311  (repeatable, nothing secret)
    near = [0, 1, 5, 100, size // 2, size - 200, size - 20, size - 2]
    return sorted({*(at for at in near if 0 <= at < size), *(chosen.randrange(size) for _ in range(count))})


def fingerprint(server: EmbeddedPostgres, database: str) -> object:
    with psycopg.connect(server.endpoint.conninfo(database)) as connection:
        return connection.execute(
            "SELECT (SELECT md5(string_agg(x::text, ',' ORDER BY id)) FROM public.a x), (SELECT count(*) FROM public.b),"
            " (SELECT count(*) FROM public.v), (SELECT md5(lo_get(77))), (SELECT last_value FROM public.s),"
            " (SELECT count(*) FROM pg_indexes WHERE schemaname = 'public')"
        ).fetchall()


def judge_all(
    sandbox: EmbeddedPostgres,
    owner: Owner,
    source: EmbeddedPostgres,
    sources: list[DumpSource],
    *,
    allowed: int = 0,
) -> list[str]:
    """Restore all; return names of those that claim to be whole and are not. At most `allowed` may be whole."""
    facts = kit.restore(sandbox, owner, *sources)
    assert {item.name for item in facts.databases} == {item.database for item in sources}
    whole = [item.name for item in facts.databases if item.restored and item.complete]
    assert len(whole) <= allowed
    for item in facts.databases:
        findings = restore_findings((item.name,), facts)
        own = [finding for finding in findings if finding.message.startswith(item.name)]
        assert item.name in whole or any(finding.verdict is not Verdict.PASS for finding in own), item
    truth = fingerprint(source, "small")
    return [name for name in whole if fingerprint(sandbox, name) != truth]


@pytest.mark.parametrize("words", [(), ("--inserts",)], ids=["copy", "inserts"])
def test_a_plain_dump_cut_anywhere(
    words: tuple[str, ...], sandbox: EmbeddedPostgres, owner: Owner, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    text = kit.dump(source, "pg_dump", *words, "--dbname=small")
    trailer = text.rindex(b" complete") + len(b" complete")
    cuts = [*offsets(trailer, 40), trailer, len(text) - 1]
    sources = [kit.plain(tmp_path / f"{at}.sql", f"d{at}", text[:at]) for at in cuts]
    assert judge_all(sandbox, owner, source, sources, allowed=2) == []


def test_a_plain_dump_cut_at_every_line_of_its_tail(
    sandbox: EmbeddedPostgres, owner: Owner, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    lines = kit.dump(source, "pg_dump", "--dbname=small").splitlines(keepends=True)
    last = next(at for at in range(len(lines) - 1, 0, -1) if b"complete" in lines[at])
    sources = [
        kit.plain(tmp_path / f"{at}.sql", f"d{at}", b"".join(lines[:at])) for at in range(last, last - 40, -1)
    ]
    assert judge_all(sandbox, owner, source, sources) == []


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_compressed_dump_cut_anywhere(
    compression: str, sandbox: EmbeddedPostgres, owner: Owner, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    press = {"gzip": gzip.compress, "zstd": zstandard.compress}[compression]
    text = press(kit.dump(source, "pg_dump", "--dbname=small"))
    sources = []
    for at in [*offsets(len(text), 15), len(text) - 1]:
        (tmp_path / f"{at}").write_bytes(text[:at])
        sources.append(
            DumpSource(
                database=f"d{at}",
                kind=ArtifactKind.PG_DUMP_PLAIN,
                path=tmp_path / f"{at}",
                compression=compression,
            )
        )
    assert judge_all(sandbox, owner, source, sources) == []


@pytest.mark.parametrize("kind", ["custom", "tar"])
def test_an_archive_cut_anywhere(
    kind: str, sandbox: EmbeddedPostgres, owner: Owner, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    kit.dump(source, "pg_dump", f"--format={kind}", f"--file={tmp_path / 'whole'}", "--dbname=small")
    data = (tmp_path / "whole").read_bytes()
    # A tar ends with blocks of zeros and a script that nothing reads: what is cut there is not missed by pg_restore.
    size = len(data) if kind == "custom" else data.rindex(b"restore.sql")
    sources = []
    for at in offsets(size, 25):
        (tmp_path / f"{at}").write_bytes(data[:at])
        sources.append(DumpSource(database=f"d{at}", kind=kit.KINDS[kind], path=tmp_path / f"{at}"))
    assert judge_all(sandbox, owner, source, sources, allowed=3) == []


def test_a_directory_with_a_part_cut_or_missing(
    sandbox: EmbeddedPostgres, owner: Owner, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    kit.dump(source, "pg_dump", "--format=directory", "--compress=0", f"--file={whole}", "--dbname=small")
    big = max((path for path in whole.glob("[0-9]*.dat")), key=lambda path: path.stat().st_size).name
    sources = []

    def variant(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(whole, folder)
        sources.append(DumpSource(database=name, kind=ArtifactKind.PG_DUMP_DIRECTORY, path=folder))
        return folder

    def cut(path: Path, size: int) -> None:
        path.write_bytes(path.read_bytes()[:size])

    data = (whole / big).read_bytes()
    cut(
        variant("row") / big, data.index(b"\n", len(data) // 2) + 1
    )  # between two rows: pg_restore itself is content
    cut(variant("mid") / big, len(data) // 3)
    cut(variant("tail") / big, len(data) - 5)
    (variant("gone") / big).unlink()
    (variant("noblob") / next(whole.glob("blob_*")).name).unlink()
    cut(variant("toc") / "toc.dat", 3000)
    packed = variant("packed") / big
    packed.with_name(f"{big}.zst").write_bytes(zstandard.compress(data)[:-7])
    packed.unlink()
    packed = variant("packedrow") / big
    packed.with_name(f"{big}.zst").write_bytes(
        zstandard.compress(data[: data.index(b"\n", len(data) // 2) + 1])
    )
    packed.unlink()
    packed = variant("gz") / big
    packed.with_name(f"{big}.gz").write_bytes(gzip.compress(data)[:-9])
    packed.unlink()
    assert judge_all(sandbox, owner, source, sources) == []


def test_a_cluster_dump_without_its_end(
    sandbox: EmbeddedPostgres, owner: Owner, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    text = kit.dump(source, "pg_dumpall")
    at = text.rindex(b"-- PostgreSQL database cluster dump complete")
    path = tmp_path / "all.sql"
    path.write_bytes(text[:at])
    facts = kit.restore(sandbox, owner, DumpSource(database=None, kind=ArtifactKind.PG_DUMPALL, path=path))
    assert [(item.name, item.restored, item.complete) for item in facts.databases] == [("small", True, True)]
    assert [problem.code for problem in facts.problems] == ["dump-incomplete"]
    findings = restore_findings(("small", "another"), facts)
    assert {finding.code for finding in findings if finding.verdict is Verdict.FAIL} == {
        "dump-incomplete", "database-missing",
    }  # fmt: skip


def test_an_empty_file_is_no_dump(
    sandbox: EmbeddedPostgres, owner: Owner, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    kinds = [*kit.KINDS.values(), ArtifactKind.PG_DUMPALL]
    (tmp_path / "none").mkdir()
    (tmp_path / "empty").write_bytes(b"")
    sources = [
        DumpSource(
            database=f"d{number}",
            kind=kind,
            path=tmp_path / ("none" if kind is ArtifactKind.PG_DUMP_DIRECTORY else "empty"),
        )
        for number, kind in enumerate(kinds)
    ]
    facts = kit.restore(sandbox, owner, *sources)
    assert [item.name for item in facts.databases if item.restored] == []
    for source_ in sources:
        findings = restore_findings((str(source_.database),), facts)
        assert any(finding.verdict is Verdict.FAIL for finding in findings)
