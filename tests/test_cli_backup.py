"""`smos backup list|restore|prune`: what is in use is either as it was, or what the manifest promises."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from smos.backup.catalog import read_catalog
from smos.backup.retention import ASIDE, judge_sets, prune, put_aside_before
from smos.backup.verified import verifications
from smos.clock import SystemClock
from smos.errors import BackupError
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.restore.deferred import may_run
from smos.restore.journal import Journal, SwappedDatabase, SwappedVolume, write_journal
from smos.restore.mend import Where, finish, held, mend, undo
from smos.restore.server import ServerFacts, read_server
from smos.restore.swap import Names, swap
from smos.target import Limits
from tests._forked import run_smos
from tests._restore_kit import oracle, source_server

SMOS = Path(sys.executable).with_name("smos")
LONG_S = 300
"""Against a hang only."""


class Place:
    """A live server with data and a volume, and a backup of them."""

    def __init__(self, server: EmbeddedPostgres, root: Path) -> None:
        self.server, self.root = server, root
        self.backups, self.volume = root / "backups", root / "live" / "n8n"
        self.backups.mkdir(parents=True)
        self.volume.mkdir(parents=True)
        (self.volume / "key").write_text("good")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("SMOS_")}
        self.env |= {"SMOS_HOME": str(root / "home"), "SMOS_KEYRING": "off", "TMPDIR": str(root)}

    @property
    def words(self) -> tuple[str, ...]:
        """Where the backups and the server are."""
        return ("--backups", str(self.backups), "--host", self.server.endpoint.host)

    def smos(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `smos backup` as a script would."""
        return run_smos(["backup", *words], env=self.env, cwd=self.root, timeout=LONG_S)

    def restore(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Restore database and volume."""
        return self.smos("restore", *self.words, "--volume", f"n8n={self.volume}", *words)

    def ask(self, query: str, database: str = "rich") -> list[tuple[object, ...]]:
        """Ask the server, outside of a transaction."""
        with psycopg.connect(self.server.endpoint.conninfo(database), autocommit=True) as connection:
            found = connection.execute(query.encode())
            return found.fetchall() if found.description else []

    def damage(self) -> None:
        """Lose rows and spoil the volume."""
        self.ask("DELETE FROM app.child")
        (self.volume / "key").write_text("bad")

    @property
    def state(self) -> str:
        """Which of the two states is in use, as a whole."""
        rows = int(str(self.ask("SELECT count(*) FROM app.child")[0][0]))
        return {(20, "good"): "new", (0, "bad"): "old"}.get(
            (rows, (self.volume / "key").read_text()), "mixed"
        )

    def left(self) -> list[str]:
        """Return what a restore left behind."""
        found = [str(row[0]) for row in self.ask("SELECT datname FROM pg_database WHERE datname ~ '__smos_'")]
        found += [str(row[0]) for row in self.ask("SELECT rolname FROM pg_roles WHERE rolname ~ '^smos_'")]
        return [*found, *(item.name for item in self.volume.parent.iterdir() if item.name.startswith("."))]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Owner("test-cli-backup") as owner:
        server = source_server(owner, name="live", memory=True)
        made = Place(server, tmp_path_factory.mktemp("place"))
        done = made.smos(
            "create", "--to", str(made.backups), "--host", server.endpoint.host, "--database", "rich",
            "--volume", f"n8n={made.volume}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        yield made


def test_a_restore_brings_back_everything_that_pg_dump_knows_of(place: Place) -> None:
    before = oracle(place.server, "rich")
    place.damage()
    planned = json.loads(place.restore("--dry-run", "--json").stdout)
    assert (place.state, place.left()) == ("old", [])
    done = place.restore("--yes", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["done"] == planned["steps"] == document["steps"]
    assert (place.state, place.left()) == ("new", [])
    assert oracle(place.server, "rich") == before
    saved = read_catalog(Path(document["safety_backup"]).parent, timezone="UTC")
    assert saved.sets[-1].databases == ("rich",)


def test_nothing_is_replaced_without_being_asked(place: Place) -> None:
    place.damage()
    refused = place.restore("--json")
    assert refused.returncode == 5
    assert json.loads(refused.stdout)["error"]["code"] == "cancelled"
    code, seen = on_a_terminal(place, b"n\n", "restore", *place.words, "--volume", f"n8n={place.volume}")
    assert code == 5
    assert "Replace rich, n8n" in seen
    assert (place.state, place.left()) == ("old", [])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_an_interrupted_restore_leaves_the_old_state_or_the_new_one(
    place: Place, how: signal.Signals
) -> None:
    struck = 0
    for step in ("safety-backup:", "verify: n8n", "swap-database:"):
        place.damage()
        code = interrupted(place, step, how)
        state, journals = place.state, [path.stem for path in (place.root / "home/restores").glob("*.json")]
        assert code in {0, 130, -how}, step  # 0: on a busy machine it may have ended before it was struck
        assert state == "new" if code == 0 else state in {"old", "new"}, step
        struck += state == "old"
        if how is signal.SIGINT and state == "old":
            assert (place.left(), journals) == ([], []), step
        for id_ in journals:  # what it kept, and had not begun to remove, can be removed
            place.smos("restore", "--host", place.server.endpoint.host, "--finish", id_, "--yes")
        done = place.restore("--yes", "--no-safety")
        assert done.returncode == 0, (step, done.stderr)
        assert (place.state, place.left()) == ("new", []), step
        assert not list((place.root / "home/restores").glob("*.json")), step
    assert struck


def test_the_old_state_that_was_kept_can_be_put_back_or_removed(place: Place) -> None:
    for option, wanted in (("--undo", "old"), ("--finish", "new")):
        place.damage()
        kept = json.loads(place.restore("--keep-old", "--yes", "--no-safety", "--json").stdout)
        assert place.state == "new"
        words = ("restore", "--host", place.server.endpoint.host, option, kept["id"])
        assert place.smos(*words).returncode == 5
        done = place.smos(*words, "--yes", "--json")
        assert done.returncode == 0, done.stderr
        assert (place.state, place.left()) == (wanted, []), option
        assert place.smos(*words, "--yes").returncode == 1


def interrupted(place: Place, step: str, how: signal.Signals) -> int:
    """Start a restore, strike it when it has told of a step, and return how it ended."""
    process = subprocess.Popen(
        [SMOS, "backup", "restore", *place.words, "--volume", f"n8n={place.volume}", "--yes"],
        env=place.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            if line.startswith(step):
                process.send_signal(how)
                break
        lines.read()
    return process.wait(LONG_S)


def on_a_terminal(place: Place, answer: bytes, *words: str) -> tuple[int, str]:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(SMOS, [str(SMOS), "backup", *words], place.env)  # noqa: S606
    seen = b""
    try:
        while block := os.read(terminal, 4096):
            seen += block
            if answer and b"[y/N]" in seen:
                os.write(terminal, answer)
                answer = b""
    except OSError:  # how a terminal says that nobody is left
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_a_swap_that_is_killed_before_its_commit_is_none(place: Place) -> None:
    place.ask('CREATE DATABASE "one"', "postgres")
    place.ask('CREATE DATABASE "one__smos_restore_00000000"', "postgres")
    names = Names(name="one", id="00000000", exists=True)
    child = os.fork()
    if child == 0:
        swap(place.server.endpoint, [names], lambda: os.kill(os.getpid(), signal.SIGKILL))
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with psycopg.connect(place.server.endpoint.conninfo("one")) as user:  # somebody is in it: that is ended
        swap(place.server.endpoint, [names])
        with pytest.raises(psycopg.OperationalError):
            user.execute("SELECT 1")
    found = [row[0] for row in place.ask("SELECT datname FROM pg_database WHERE datname ~ '^one' ORDER BY 1")]
    assert found == ["one", "one__smos_old_00000000"]
    for name in found:
        place.ask(f'DROP DATABASE "{name}"', "postgres")


def test_volumes_that_were_exchanged_without_the_databases_are_put_back(place: Place, tmp_path: Path) -> None:
    live, folder = tmp_path / "data", tmp_path / ".smos-restore-11111111-v"
    staged = folder / "content" / "v"
    staged.mkdir(parents=True)
    live.mkdir()
    (staged / "new").touch()
    (live / "old").touch()
    volume = SwappedVolume(name="v", place=live, staged=staged, inode=staged.stat().st_ino, exists=True)
    live.rename(tmp_path / "x")
    staged.rename(live)
    (tmp_path / "x").rename(staged)
    (folder / "swapped").touch()
    facts = read_server(place.server.endpoint)
    database = SwappedDatabase(name="rich", exists=True)
    journal = Journal(
        id="11111111",
        set_id="s",
        identifier=facts.system_identifier,
        databases=(database,),
        volumes=(volume,),
    )
    write_journal(tmp_path / "journals", journal)
    place.ask('CREATE DATABASE "rich__smos_restore_11111111"', "postgres")
    facts = read_server(place.server.endpoint)
    mend(where(place, facts, tmp_path / "journals"), {"v": live}, lambda _text: None)
    assert [item.name for item in live.iterdir()] == ["old"]
    assert not folder.exists()
    place.ask('DROP DATABASE "rich__smos_restore_11111111"', "postgres")


def kept(root: Path, id_: str, now: Path | None) -> Journal:
    """Keep the old state of a restore of volume v (it holds "old"); `now` took the place of what was restored since."""
    live, staged = root / "data", root / f".smos-restore-{id_}-v" / "content" / "v"
    staged.mkdir(parents=True)
    (staged / "old").touch()
    (staged.parent.parent / "swapped").touch()
    live.mkdir()
    inode = live.stat().st_ino
    if now is not None:
        live.rename(root / "restored")
        now.rename(live)
    volume = SwappedVolume(name="v", place=live, staged=staged, inode=inode, exists=True)
    journal = Journal(id=id_, set_id="s", identifier=None, volumes=(volume,))
    write_journal(root / "journals", journal)
    return journal


def test_what_took_a_restored_volumes_place_since_stays_there(tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "today").touch()
    journal = kept(tmp_path, "22222222", newer)
    only_volumes = Where(
        endpoint=None, installation=None, server=None, journals=tmp_path / "journals",
        limits=Limits(), clock=SystemClock(),
    )  # fmt: skip
    told: list[str] = []
    mend(only_volumes, {"v": tmp_path / "data"}, told.append)
    assert told == []
    with pytest.raises(BackupError, match="was replaced since"):
        undo(only_volumes, journal.id)
    assert (tmp_path / "data" / "today").exists()
    assert (journal.volumes[0].staged / "old").exists()
    finish(only_volumes, journal.id)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["data", "journals", "restored"]


def test_what_another_restore_is_filling_is_not_removed(tmp_path: Path) -> None:
    folder = tmp_path / ".smos-restore-33333333-v"
    folder.mkdir()
    only_volumes = Where(
        endpoint=None, installation=None, server=None, journals=tmp_path / "journals",
        limits=Limits(), clock=SystemClock(),
    )  # fmt: skip
    with held(folder):
        other = os.fork()
        if other == 0:
            mend(only_volumes, {"v": tmp_path / "data"}, lambda _text: None)
            os._exit(0)
        assert os.waitpid(other, 0)[1] == 0
        assert folder.exists()
    mend(only_volumes, {"v": tmp_path / "data"}, lambda _text: None)
    assert not folder.exists()


def test_an_old_database_that_cant_be_removed_is_told_and_can_be_finished_later(place: Place) -> None:
    place.damage()
    place.ask(
        "CREATE SUBSCRIPTION held CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)"
    )
    done = place.restore("--yes", "--no-safety", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["not_carried_over"] == [{"database": "rich", "what": "subscription held"}]
    assert any(f"--finish {document['id']}" in note for note in document["notes"])
    (old,) = [name for name in place.left() if "__smos_old_" in name]
    again = place.restore("--dry-run", "--json")  # and it stands in nobody's way
    assert again.returncode == 0, again.stderr
    words = ("restore", "--host", place.server.endpoint.host, "--finish", document["id"], "--yes")
    assert place.smos(*words).returncode == 1
    place.ask("DROP SUBSCRIPTION held", old)
    done = place.smos(*words)
    assert done.returncode == 0, done.stderr
    assert (place.state, place.left()) == ("new", [])


def where(place: Place, facts: ServerFacts, journals: Path) -> Where:
    return Where(
        endpoint=place.server.endpoint, installation=place.server.installation, server=facts, journals=journals,
        limits=Limits(), clock=SystemClock(),
    )  # fmt: skip


def test_code_in_a_dump_acts_for_nobody_while_it_is_loaded(place: Place, tmp_path: Path) -> None:
    """The check runs while rows are loaded. It lets a row in only where it could not become another role."""
    place.ask('CREATE DATABASE "trap"', "postgres")
    place.ask(
        """
        CREATE FUNCTION public.attempt(a int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
            IF current_user = 'postgres' THEN RETURN true; END IF;
            BEGIN EXECUTE 'SET LOCAL ROLE app_owner'; EXCEPTION WHEN insufficient_privilege THEN
                BEGIN EXECUTE 'ALTER ROLE app_user CONNECTION LIMIT 1'; EXCEPTION WHEN insufficient_privilege THEN
                    RETURN true;
                END;
            END;
            RETURN false;
        END $$;
        CREATE TABLE public.t (a int CHECK (public.attempt(a)));
        INSERT INTO public.t VALUES (1);
        ALTER TABLE public.t OWNER TO app_owner;
        """,
        "trap",
    )
    host = place.server.endpoint.host
    assert place.smos("create", "--to", str(tmp_path), "--host", host, "--database", "trap").returncode == 0
    place.ask("DELETE FROM t", "trap")
    done = place.smos("restore", "--backups", str(tmp_path), "--host", host, "--yes", "--no-safety")
    assert done.returncode == 0, done.stderr
    assert place.ask("SELECT count(*), min(tableowner) FROM t, pg_tables WHERE tablename = 't'", "trap") == [
        (1, "app_owner")
    ]


def test_a_set_that_was_changed_is_not_restored(place: Place, tmp_path: Path) -> None:
    place.damage()
    copy = tmp_path / "backups"
    shutil.copytree(place.backups, copy)
    victim = next(copy.glob("*/databases/rich/toc.dat"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    done = place.smos(
        "restore", "--backups", str(copy), "--host", place.server.endpoint.host, "--yes", "--json"
    )
    assert done.returncode == 1
    assert "can't be trusted" in json.loads(done.stdout)["error"]["message"]
    assert place.state == "old"


def test_a_manifest_that_promises_other_content_stops_the_swap(place: Place, tmp_path: Path) -> None:
    place.damage()
    copy = tmp_path / "backups"
    shutil.copytree(place.backups, copy)
    manifest = next(copy.glob("*/manifest.json"))
    text = manifest.read_text()
    document = json.loads(text)
    document["databases"][0]["content"]["tables"]["app.child"][0] += 1
    manifest.write_text(json.dumps(document))
    words = ("restore", "--backups", str(copy), "--host", place.server.endpoint.host, "--yes")
    done = place.smos(*words)
    assert done.returncode == 1
    assert "app.child" in done.stderr
    assert (place.state, place.left()) == ("old", [])


def test_the_list_tells_what_a_set_holds_and_that_nobody_verified_it(place: Place) -> None:
    done = place.smos("list", "--backups", str(place.backups), "--json")
    (only,) = json.loads(done.stdout)["sets"]
    assert (only["databases"], only["volumes"], only["encrypted"]) == (["rich"], ["n8n"], False)
    assert only["verified"] is False
    assert "never" in place.smos("list", "--backups", str(place.backups)).stdout


def test_a_drill_of_the_backups_is_what_verifies_a_set(tmp_path: Path) -> None:
    with Owner("test-verify") as owner:
        server = EmbeddedPostgres(owner, name="plain", settings={"fsync": "off"}, memory=True)
        server.start()
        made = Place(server, tmp_path)
        made.ask('CREATE DATABASE "plain"', "postgres")
        made.ask("CREATE TABLE t AS SELECT generate_series(1, 100) AS a", "plain")
        words = ("--to", str(made.backups), "--host", server.endpoint.host, "--database", "plain")
        assert made.smos("create", *words).returncode == 0
    where = ("--backups", str(made.backups), "--reports", "proof")
    done = made.smos("verify", *where, "--quiet")
    assert done.returncode == 10, done.stdout  # nobody declared what must be there: DR-01
    (only,) = json.loads(made.smos("list", *where, "--json").stdout)["sets"]
    run = json.loads((made.root / "proof" / "history.jsonl").read_text().splitlines()[-1])
    assert (only["verified"], only["verified_by"]) == (True, run["run_id"]), run["checks"]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        (b"ALTER TABLE app.t OWNER TO app_owner;", True),
        (b'ALTER FUNCTION app."f g"(a integer, b text) OWNER TO "Weird ""Role";', True),
        (b"ALTER OPERATOR app.=== (integer, integer) OWNER TO x;", True),
        (b"GRANT SELECT(a),INSERT ON TABLE app.t TO x WITH GRANT OPTION;", True),
        (b"REVOKE ALL ON SCHEMA public FROM PUBLIC;", True),
        (b"GRANT ALL ON LARGE OBJECT 42 TO x;", True),
        (b"ALTER SCHEMA pg_catalog OWNER TO x;", False),
        (b"GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC;", False),
        (b"GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO PUBLIC;", False),
        (b'GRANT EXECUTE ON FUNCTION "pg_catalog".pg_read_file(text) TO PUBLIC;', False),
        (b'GRANT SELECT ON TABLE U&"pg\\005fcatalog".pg_authid TO PUBLIC;', False),
        (b"GRANT SELECT ON TABLE app.t, pg_catalog.pg_authid TO x;", False),
        (b"GRANT SELECT ON ALL TABLES IN SCHEMA pg_catalog TO x;", False),
        (b"GRANT pg_execute_server_program TO x;", False),
        (b"ALTER TABLE app.t OWNER TO x; DROP TABLE app.t;", False),
        (b"ALTER TABLE app.t ALTER COLUMN a SET DEFAULT f(), OWNER TO x;", False),
    ],
)
def test_the_administrator_runs_only_plain_statements_on_the_dumps_own_things(
    text: bytes, *, allowed: bool
) -> None:
    assert may_run(text) is allowed


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def stamped(days: float) -> str:
    return (NOW - timedelta(days=days)).strftime("%Y%m%d_%H%M%S")


def flat_sets(root: Path, *ages: float) -> Path:
    for age in ages:
        (root / f"postgres-{stamped(age)}.sql.gz").write_bytes(b"\x1f\x8b\x08")
        (root / f"volumes-{stamped(age)}.tar.gz").write_bytes(b"\x1f\x8b\x08")
        (root / f"volumes-{stamped(age)}.tar.gz.sha256").write_text(
            "0" * 64 + f"  volumes-{stamped(age)}.tar.gz\n"
        )
    return root


def proof(set_id: str, **checks: str) -> dict[str, object]:
    return {
        "set": set_id, "run_id": "r1", "started": NOW.isoformat(), "target": "t", "verdict": "FAIL",
        "checks": {"DR-02": "PASS", "DR-03": "PASS"} | checks,
    }  # fmt: skip


def test_pruning_keeps_the_newest_verified_set_however_old_it_is(tmp_path: Path) -> None:
    catalog = read_catalog(flat_sets(tmp_path, 30, 20, 10, 3, 1), timezone="UTC")
    verified = verifications([proof(catalog.sets[1].id), proof(catalog.sets[0].id)], "t")
    rulings = judge_sets(catalog, verified, keep=timedelta(days=7), now=NOW)
    assert [item.remove for item in rulings] == [True, False, True, False, False]
    removed = prune(
        tmp_path, [item for item, ruling in zip(catalog.sets, rulings, strict=True) if ruling.remove]
    )
    after = read_catalog(tmp_path, timezone="UTC")
    assert len(removed) == 2
    assert [item.id for item in after.sets] == [catalog.sets[n].id for n in (1, 3, 4)]
    assert not after.problems
    assert not [item for item in tmp_path.iterdir() if stamped(30) in item.name]


def test_the_only_set_is_kept_and_what_proves_nothing_counts_for_nothing(tmp_path: Path) -> None:
    catalog = read_catalog(flat_sets(tmp_path, 99), timezone="UTC")
    assert [item.remove for item in judge_sets(catalog, {}, keep=timedelta(days=7), now=NOW)] == [False]
    assert verifications([proof("a", **{"DR-04": "NOT_PROVEN"}), proof("b") | {"target": "other"}], "t") == {}
    assert verifications([proof("a") | {"checks": {"DR-02": "PASS"}}], "t") == {}


def test_an_interrupted_pruning_goes_on_and_leaves_no_half_set(tmp_path: Path) -> None:
    root = flat_sets(tmp_path, 20, 1)
    catalog = read_catalog(root, timezone="UTC")
    aside = root / f"{ASIDE}{catalog.sets[0].id}"
    aside.mkdir()
    (aside / ".pruned.json").write_text(json.dumps([artifact.path for artifact in catalog.sets[0].artifacts]))
    (root / catalog.sets[0].artifacts[0].path).rename(aside / catalog.sets[0].artifacts[0].path)
    assert put_aside_before(root) == (catalog.sets[0].id,)
    assert prune(root, []) == (catalog.sets[0].id,)
    assert [item.id for item in read_catalog(root, timezone="UTC").sets] == [catalog.sets[1].id]


def test_prune_asks_and_a_dry_run_removes_nothing(place: Place, tmp_path: Path) -> None:
    flat_sets(tmp_path, 400, 300)
    words = ("prune", "--backups", str(tmp_path), "--json")
    before = sorted(item.name for item in tmp_path.iterdir())
    planned = json.loads(place.smos(*words, "--dry-run").stdout)["plan"]
    assert place.smos(*words).returncode == 5
    assert sorted(item.name for item in tmp_path.iterdir()) == before
    done = json.loads(place.smos(*words, "--yes").stdout)
    assert done["plan"] == planned
    assert done["removed"] == [item["set"] for item in planned if item["action"] == "remove"]
    assert len(done["removed"]) == 1
