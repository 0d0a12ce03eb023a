"""A sandbox runs on a physical backup itself: at once, without a byte of the backup changed, and gone afterwards."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from smos.errors import BackupError, ProvisionError, UnsafeInputError
from smos.instant import Level, enter, open_instant, start_instant
from smos.instant.clone import USER_OPTIONS
from smos.instant.survey import differing, survey
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.provision.relocate import reachable_python
from smos.wait import wait_for

CHECKOUT = Path(__file__).parents[1]
ROOT = os.geteuid() == 0
MOUNTING = (Level.OVERLAY, Level.OVERLAY_USER)


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-instant") as owned:
        yield owned


@pytest.fixture(scope="module")
def backup(owner: Owner) -> Path:
    """Take a base backup with a table, and with a second tablespace (at `../space` of the backup)."""
    source = EmbeddedPostgres(
        owner, name="source", settings={"fsync": "off", "wal_level": "replica", "max_wal_senders": "2"}
    )
    source.start()
    space = owner.directory("space")
    with psycopg.connect(source.endpoint.conninfo(), autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT n, repeat('x', 500) AS v FROM generate_series(1, 5000) AS n"
        )
        connection.execute(f"CREATE TABLESPACE far LOCATION '{space}'")
        connection.execute("CREATE TABLE far TABLESPACE far AS SELECT 7 AS n")
    place = owner.directory("backup")
    command = [source.installation.tool("pg_basebackup"), f"--pgdata={place / 'data'}", "--checkpoint=fast"]
    command += [
        f"--tablespace-mapping={space}={place / 'space'}",
        "--no-sync",
        f"--dbname={source.endpoint.conninfo()}",
    ]
    owner.run(command, timeout_s=120)
    source.kill()
    return place / "data"


def linked(backup: Path) -> dict[str, Path]:
    return {f"pg_tblspc/{item.name}": backup.parent / "space" for item in (backup / "pg_tblspc").iterdir()}


def first_possible(owner: Owner, backup: Path, *levels: Level) -> Level:
    """Return the level that this machine allows; skips visibly where it allows none."""
    try:
        return open_instant(owner, backup, name="try", linked=linked(backup), levels=levels).facts.level
    except ProvisionError as error:
        pytest.skip(f"this system allows none of {', '.join(levels)}: {error.message}")


def rows(server: EmbeddedPostgres, query: str) -> list[tuple]:
    with psycopg.connect(server.endpoint.conninfo()) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("way", ["mounted", "copied"])
def test_the_server_reads_writes_and_restarts_while_the_backup_stays_as_it_was(
    owner: Owner, backup: Path, way: str
) -> None:
    level = first_possible(owner, backup, *MOUNTING) if way == "mounted" else Level.COPY
    started = start_instant(owner, backup, name=way, linked=linked(backup), levels=(level,))
    server = started.server
    try:
        assert rows(server, "SELECT count(*), (SELECT n FROM far) FROM t") == [(5000, 7)]
        with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute("UPDATE t SET v = 'changed'")
            connection.execute("INSERT INTO far VALUES (8)")
            connection.execute("CHECKPOINT")
        server.restart()
        assert rows(server, "SELECT count(*) FROM t WHERE v = 'changed'") == [(5000,)]
        assert rows(server, "SELECT sum(n) FROM far") == [(15,)]
        proof = started.tree.untouched()
        assert (proof.unchanged, proof.differing) == (True, ())
        assert started.tree.facts.copied == (0 if level.instant else started.tree.facts.bytes)
        assert proof.written
    finally:
        server.stop()


@pytest.mark.skipif(not ROOT, reason="only root can have a backup of another user's")
def test_a_backup_that_belongs_to_root_is_given_to_the_server_without_copying_or_changing_it(
    owner: Owner, backup: Path
) -> None:
    place = owner.directory("foreign")
    subprocess.run(
        ["cp", "-a", "--no-preserve=ownership", backup, backup.parent / "space", place], check=True
    )
    os.chown(place, 0, 0)
    level = first_possible(owner, backup, Level.OVERLAY)
    foreign = place / "data"
    started = start_instant(
        owner,
        foreign,
        name="foreign",
        linked=dict.fromkeys(linked(backup), place / "space"),
        levels=(level,),
    )
    try:
        written = started.tree.untouched().written
        assert written is not None
        assert written < started.tree.facts.bytes / 2  # some files it has opened already
        assert rows(started.server, "SELECT count(*) FROM t") == [(5000,)]
        assert started.tree.untouched().unchanged
        assert {entry.uid for entry in survey(foreign).entries} == {0}
    finally:
        started.server.stop()


def test_files_can_be_put_in_place_and_taken_out_before_the_start(owner: Owner, backup: Path) -> None:
    for level in (first_possible(owner, backup, *MOUNTING), Level.COPY):
        tree = open_instant(owner, backup, name="edit", linked=linked(backup), levels=(level,))
        assert (tree.read("PG_VERSION") or b"").strip().isdigit()
        tree.write("recovery.signal", b"")
        assert tree.read("recovery.signal") == b""
        tree.remove("backup_label")
        assert tree.read("backup_label") is None
        tree.remove("never-there")
        for name in ("../x", "base/x", "", "..", "a\0b"):
            with pytest.raises(ValueError, match="no name"):
                tree.write(name, b"")
        assert tree.untouched().unchanged


def test_every_better_level_that_was_refused_is_recorded_with_its_reason(owner: Owner, backup: Path) -> None:
    tree = open_instant(owner, backup, name="levels", linked=linked(backup))
    tried = [level for level, _ in tree.facts.refused]
    assert tried == [*Level][: len(tried)]
    assert tree.facts.level is [*Level][len(tried)]
    assert all(reason for _, reason in tree.facts.refused)
    with pytest.raises(ProvisionError, match="root"):
        open_instant(owner, backup, name="x", linked=linked(backup), levels=(MOUNTING[ROOT],))


def write_at(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


def backdated(path: Path) -> None:
    before = path.stat()
    write_at(path, b"\xff")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    data, before = path.read_bytes(), path.stat()
    path.unlink()
    path.write_bytes(data)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "a byte": lambda path: write_at(path, b"\xff"),
    "a byte, and the time set back": backdated,
    "rights": lambda path: path.chmod(0o640),
    "gone": lambda path: path.unlink(),
    "replaced by an equal file": replaced,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=[name.replace(" ", "-") for name in CHANGES])
def test_any_change_of_the_backup_shows(tmp_path: Path, change: Callable[[Path], object]) -> None:
    (tmp_path / "base").mkdir()
    victim = tmp_path / "base" / "1"
    victim.write_bytes(bytes(8192))
    (tmp_path / "other").write_bytes(b"x")
    before = survey(tmp_path)
    assert survey(tmp_path).seal() == before.seal()
    change(victim)
    after = survey(tmp_path)
    assert after.seal() != before.seal()
    assert "base/1" in differing(before, after)


def hostile_link(tree: Path) -> None:
    (tree / "base").symlink_to("/etc")


def hostile_file_link(tree: Path) -> None:
    (tree / "pg_hba.conf").symlink_to("/etc/passwd")


def hostile_fifo(tree: Path) -> None:
    os.mkfifo(tree / "postgresql.auto.conf")


def hostile_space(tree: Path) -> None:
    (tree / "pg_tblspc").mkdir()
    (tree / "pg_tblspc" / "16390").symlink_to("/root")


def hostile_wal(tree: Path) -> None:
    (tree / "pg_wal").symlink_to("/var/lib")


def hostile_attribute(tree: Path) -> None:
    os.setxattr(tree / "PG_VERSION", "user.overlay.redirect", b"/../../etc")


def hostile_depth(tree: Path) -> None:
    (tree / "/".join("d" * 40)).mkdir(parents=True)


@pytest.mark.parametrize(
    "attack",
    [
        hostile_link,
        hostile_file_link,
        hostile_fifo,
        hostile_space,
        hostile_wal,
        hostile_attribute,
        hostile_depth,
    ],
)
def test_a_tree_that_leads_elsewhere_is_refused_before_any_server_starts(
    owner: Owner, tmp_path: Path, attack: Callable[[Path], object]
) -> None:
    (tmp_path / "PG_VERSION").write_text("18\n")
    try:
        attack(tmp_path)
    except OSError as error:
        pytest.skip(f"this file system can't hold the attack: {error}")
    with pytest.raises(UnsafeInputError):
        open_instant(owner, tmp_path, name="hostile")


def test_a_link_that_was_named_is_not_followed_either(owner: Owner, backup: Path, tmp_path: Path) -> None:
    link = next(iter(linked(backup)))
    elsewhere = tmp_path / "space"
    elsewhere.mkdir()
    tree = open_instant(owner, backup, name="named", linked={link: elsewhere}, levels=(Level.COPY,))
    leads = (tree.path / link).readlink()
    assert leads.is_relative_to(owner.run_dir)
    assert not list(leads.iterdir())
    with pytest.raises(BackupError, match="no links"):
        open_instant(owner, backup, name="named", linked={**linked(backup), "base/1": elsewhere})


def test_a_directory_that_is_no_backup_is_named(owner: Owner, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="PG_VERSION"):
        open_instant(owner, tmp_path, name="empty")
    with pytest.raises(BackupError, match="can't be read"):
        open_instant(owner, tmp_path / "missing", name="missing")


def test_an_ordinary_user_mounts_in_a_namespace_of_his_own_and_leaves_what_lies_below(owner: Owner) -> None:
    """Root's harness has the service user do it; an ordinary user's harness does it in every other test."""
    python = reachable_python(owner.user)
    if python is None:
        pytest.skip("the service user can't run any Python of this version")
    base = owner.directory("user")
    for part in ("source", "lower", "upper", "work", "data"):
        place = base / ("" if part == "source" else "0") / part
        place.mkdir(parents=True, exist_ok=True)
        owner.give(place)
        owner.give(place.parent)
    (base / "source" / "f").write_text("old")
    owner.give(base / "source" / "f")
    program = owner.directory("program") / "enter.py"
    program.write_bytes(Path(enter.__file__).read_bytes())
    owner.give(program)
    words = [base, "user", "-", "-", "3", ",".join(USER_OPTIONS), base / "source", "--"]
    command = [python, "-I", "-S", program, *words, "/bin/sh", "-c", "cat f; echo new > f; cat f"]
    done = owner.run(command, timeout_s=60, check=False)
    if done.returncode == enter.FAILED:
        pytest.skip(f"this system allows no mounts in a user namespace: {done.stderr.decode()}")
    assert (done.returncode, done.stdout) == (0, b"oldnew\n")
    assert (base / "source" / "f").read_text() == "old"
    assert not list((base / "0" / "data").iterdir())


KILLED = """
    import json, os, signal, sys
    from pathlib import Path
    from smos.instant import Level, start_instant
    from smos.provision.owner import Owner
    owner = Owner("killed")
    started = start_instant(owner, Path(sys.argv[1]), name="k", linked=json.loads(sys.argv[2]) and {
        name: Path(path) for name, path in json.loads(sys.argv[2]).items()})
    import psycopg
    with psycopg.connect(started.server.endpoint.conninfo()) as connection:
        count = connection.execute("SELECT count(*) FROM t").fetchone()[0]
    print(json.dumps({"level": started.tree.facts.level, "count": count, "run": str(owner.run_dir),
        "isolation": started.server.isolation, "pid": started.server._process.pid}), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_is_left_when_the_runner_is_killed(owner: Owner, backup: Path) -> None:
    names = {name: str(path) for name, path in linked(backup).items()}
    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(KILLED), backup, json.dumps(names)],
        capture_output=True, text=True, timeout=120, check=False, cwd=CHECKOUT,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    assert seen["count"] == 5000
    wait_for(lambda: not Path(seen["run"]).exists(), what="the run's directory is gone", deadline_s=60)
    wait_for(lambda: not Path(f"/proc/{seen['pid']}").exists(), what="the server is gone", deadline_s=60)
    mounts = Path("/proc/self/mounts")
    assert not mounts.exists() or seen["run"] not in mounts.read_text()
