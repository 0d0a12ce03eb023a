"""The table of contents of an archive: every byte of it is read and written, and its order is judged."""

import os
import subprocess
from pathlib import Path

import pytest

from smos.backup.pgdump import ArchiveHeader, TocError, parse_archive_header
from smos.drill.toc import DATA, POST, PRE, Entry, contents_of, out_of_order
from smos.faults.dr.contents import Contents
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import find_installations
from smos.provision.owner import Owner

MAJORS = {item.version_num // 10000: item for item in find_installations()}


@pytest.mark.parametrize("major", MAJORS)
def test_a_table_of_contents_is_written_as_it_was_read_and_is_in_order(major: int, tmp_path: Path) -> None:
    with Owner("test-contents") as owner:
        server = EmbeddedPostgres(
            owner, name="source", installation=MAJORS[major], memory=True, settings={"fsync": "off"}
        )
        server.start()
        into = ["--dbname", server.endpoint.conninfo()]
        env = {**os.environ, **server.endpoint.env()}

        def run(name: str, *words: str | Path, text: str = "") -> None:
            argv = [server.installation.tool(name), *words, *into]
            subprocess.run(argv, env=env, input=text.encode(), capture_output=True, check=True)

        run("psql", "--file=-", text="CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t DEFAULT VALUES;")
        for kind in ("custom", "directory"):
            run("pg_dump", f"--format={kind}", f"--file={tmp_path / kind}")
    for path in (tmp_path / "custom", tmp_path / "directory" / "toc.dat"):
        contents = Contents.parse(path.read_bytes())
        assert contents.to_bytes() == path.read_bytes()
        header, entries = contents_of(path)
        assert out_of_order(header, entries) is None
        # A longer text moves what lies behind it: places of data in a custom archive are given in bytes.
        contents.header["tool"] += b"longer"
        changed = contents.to_bytes()
        assert parse_archive_header(changed).dump_version.endswith("longer")
        assert len(changed) == path.stat().st_size + len(b"longer")


HEADER = ArchiveHeader(
    version=(1, 16), format="tar", compression="none", created=None, database="x", server_version="", dump_version="",
    entries=0, end=0, integer_bytes=4, offset_bytes=8,
)  # fmt: skip


def entry(number: int, section: int, *needs: int, kind: str = "TABLE") -> Entry:
    texts = tuple(str(need) for need in needs)
    return Entry(number, kind, f"t{number}", section, "", "", "", "", has_data=False, file="", needs=texts)


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [
        ([entry(1, PRE), entry(2, DATA, 1), entry(3, POST, 2, 1)], None),
        ([entry(1, PRE), entry(2, 1, 1), entry(3, DATA, 99)], None),
        ([entry(2, PRE, 1), entry(1, PRE)], "t2"),
        ([entry(1, POST), entry(2, DATA)], "t2"),
        ([entry(1, DATA), entry(2, 1), entry(3, PRE)], "t3"),
        ([entry(1, PRE, kind="ENCODING"), entry(2, PRE, kind="DATABASE"), entry(3, PRE)], None),
        ([entry(1, PRE, kind="ENCODING"), entry(3, PRE), entry(2, PRE, kind="DATABASE")], "t3"),
    ],
    ids=[
        "sorted",
        "no section, and a need that was not dumped",
        "need",
        "section",
        "section later",
        "in the database",
        "before the database",
    ],
)
def test_an_order_that_pg_restore_cannot_follow_is_found(entries: list[Entry], wrong: str | None) -> None:
    found = out_of_order(HEADER, entries)
    assert (found.tag if found else None) == wrong


def test_a_table_of_contents_that_is_a_pipe_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "toc.dat")
    with pytest.raises(TocError, match="no regular file"):
        contents_of(tmp_path / "toc.dat")
