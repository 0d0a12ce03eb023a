"""The attacks of F32 are real: an ordinary psql of a superuser, which the drill never uses, falls for each of them."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from smos.faults.registry import faults
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner

ATTACKS = [item for item in faults() if item.id in {f"F32{letter}" for letter in "abcdefghij"}]
MARK = "\n--\n-- Name: workflow_entity; Type: TABLE;"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with Owner("test-attacks") as owner:
        server = EmbeddedPostgres(owner, name="victim", settings={"fsync": "off"}, memory=True)
        server.start()
        yield server


@pytest.fixture
def work(tmp_path: Path) -> SimpleNamespace:
    """Return as much of a workspace as an attack needs, with a dump of nothing."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == tmp_path.stat().st_uid and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    dump = tmp_path / "dump.sql"

    def flatten(_database: str, _kind: str) -> Path:
        dump.write_text(f"SELECT 1;\n{MARK}\n", encoding="utf-8")
        return dump

    return SimpleNamespace(
        directory=tmp_path, flatten=flatten, list_hashes=lambda: None, attacked=None, dump=dump
    )


@pytest.mark.parametrize("attack", ATTACKS, ids=[item.id for item in ATTACKS])
def test_an_unguarded_restore_falls_for_it(
    attack: object, work: SimpleNamespace, server: EmbeddedPostgres
) -> None:
    attack.inject(work)
    done = subprocess.run(
        [server.installation.tool("psql"), "-X", "-q", "-d", server.endpoint.conninfo(), "-f", work.dump],
        capture_output=True,
        timeout=60,
        check=False,
    )
    reached: Callable[[], str] = work.attacked
    assert reached(), done.stderr.decode()


def test_a_canary_that_nobody_touched_says_so(work: SimpleNamespace) -> None:
    ATTACKS[0].inject(work)
    assert work.attacked() == ""


def test_the_victim_is_a_superusers_server(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.endpoint.conninfo()) as connection:
        assert connection.execute("SHOW is_superuser").fetchone() == ("on",)
