"""A real drill with canaries in every credential: none is found in reports, logs, arguments or on the terminal."""

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

import psycopg
import pytest
from psycopg import sql
from ruamel.yaml import YAML

from smos.backup.create import create_backup
from smos.backup.signing import generate_keypair
from smos.clock import SystemClock
from smos.evidence.signers import load_public
from smos.evidence.verify import verify
from smos.provision.owner import Owner
from smos.selftest.source import SelfTestSource, start_source
from smos.vault.bootstrap import login
from smos.vault.escrow import read_escrow
from smos.vault.providers import load_registry

ROOT = Path(__file__).resolve().parent.parent
LOOK_S = 0.02
YOUNG = 50
"""Rounds."""
LONGEST = 1 << 20
"""Of the arguments of a process that are looked at, bytes."""
DEEPEST = 40
LARGEST_LOG = 5 * 2**20


def plant(source: SelfTestSource) -> dict[str, str]:
    """Put canaries where secrets are, and return every secret of the source by what it is."""
    canary = f"canary-{secrets.token_hex(12)}"
    found = {"a role's password": f"{canary}-role", "a row": f"{canary}-row"}
    name = source.target.database_names[0]
    with psycopg.connect(source.postgres.endpoint.conninfo(name), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE canary LOGIN PASSWORD {}").format(sql.Literal(found["a role's password"]))
        )
        connection.execute("CREATE TABLE public.canary (id int PRIMARY KEY, secret text)")
        connection.execute("INSERT INTO public.canary VALUES (1, %s)", (found["a row"],))
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'canary'").fetchone()
        assert row is not None
        found["its verifier"] = row[0]
    escrow = source.target.vault.escrow if source.target.vault else None
    assert escrow is not None
    keys, paths = read_escrow(escrow), load_registry().secrets()
    found |= {f"share {number}": share for number, share in enumerate(keys.shares())}
    for role, credential in keys.approles.items():
        found[f"secret ID of {role}"] = credential.secret_id.get_secret_value()
        found[f"role ID of {role}"] = credential.role_id.get_secret_value()
    # Whatever a role may read of the KV engine: the synthetic secrets themselves
    for role, credential in keys.approles.items():
        client = source.vault.endpoint.client()
        login(client, credential)
        found[f"token of {role}"] = str(client.token)
        for path in paths:
            with suppress(Exception):  # refused: not one of this role's
                answer = client.secrets.kv.v2.read_secret(
                    path, mount_point="smarteros", raise_on_deleted_version=True
                )
                found |= {f"{path} {key}": value for key, value in answer["data"]["data"].items()}
        client.adapter.close()
    return found


class Watch:
    """Looks again and again at the arguments of every process and at the logs of the run's servers.

    Young processes are looked at in every round, since what started them may not have become what it is to be; all of
    them from time to time.
    """

    def __init__(self, wanted: dict[str, str], places: list[Path]) -> None:
        self.wanted = {what: value.encode() for what, value in wanted.items()}
        self.places = places
        self.seen: set[tuple[str, str]] = set()
        self.processes: set[bytes] = set()
        self.logs: set[str] = set()
        self.end = threading.Event()
        self._young: dict[int, int] = {}
        """Rounds in which each is looked at still."""
        self._newest = 0
        self._read: dict[tuple[str, int], int] = {}
        """How much of each log (path, inode) was searched, bytes."""

    def search(self, data: bytes, where: str) -> None:
        """Remember which secrets are in `data`."""
        self.seen |= {(what, where) for what, value in self.wanted.items() if value in data}

    def run(self) -> None:
        """Look until told to stop."""
        rounds = 0
        while not self.end.wait(LOOK_S):
            self.look_at_processes(everyone=rounds % 10 == 0)
            rounds += 1
            if rounds % 20 == 0:
                self.look_at_logs()

    def look_at_processes(self, *, everyone: bool) -> None:
        """Read the arguments of those born since the last look and of the young, or of everyone."""
        newest, before = int(Path("/proc/loadavg").read_bytes().split()[-1]), self._newest
        self._newest = newest
        born = range(before + 1, newest + 1) if before else ()
        everyone = everyone or newest < before  # the numbers began anew
        self._young = {pid: left - 1 for pid, left in self._young.items() if left} | dict.fromkeys(
            born, YOUNG
        )
        names = (entry.name for entry in os.scandir("/proc")) if everyone else map(str, self._young)
        for name in filter(str.isdecimal, names):
            with suppress(OSError):
                descriptor = os.open(f"/proc/{name}/cmdline", os.O_RDONLY)
                try:
                    arguments = os.read(descriptor, LONGEST)
                finally:
                    os.close(descriptor)
                if arguments not in self.processes:
                    self.processes.add(arguments)
                    self.search(arguments, "arguments of a process")

    def look_at_logs(self) -> None:
        """Read what every log of the runs that are under way has gained, and what a secret could have begun in."""
        before = max(map(len, self.wanted.values()))
        for place in self.places:
            for base, folders, names in os.walk(place):  # what vanishes meanwhile is passed over
                if base.count(os.sep) > DEEPEST:  # some other test's hostile tree: the walk is a recursion
                    folders.clear()
                for name in names:
                    if "log" not in name:
                        continue
                    with suppress(OSError):
                        self._look_at_log(Path(base, name), before)

    def _look_at_log(self, path: Path, before: int) -> None:
        status = path.stat()
        known = self._read.get((str(path), status.st_ino), 0)
        if not S_ISREG(status.st_mode) or status.st_size >= LARGEST_LOG or 0 < status.st_size == known:
            return
        with path.open("rb") as file:
            file.seek(max(0, known - before) if status.st_size >= known else 0)
            data = file.read()
            self._read[str(path), status.st_ino] = file.tell()
        self.logs.add(str(path))
        self.search(data, f"log {path.name}")


@contextmanager
def watching(wanted: dict[str, str], places: list[Path]) -> Iterator[Watch]:
    """Watch while the block runs."""
    watch = Watch(wanted, places)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.end.set()
        thread.join(30)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_secret_of_any_server_is_left_or_shown_by_a_signed_drill(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    generate_keypair(tmp_path / "key.pem", tmp_path / "key.pub")
    with Owner("canaries") as owner:
        source = start_source(owner, SystemClock(), lambda _text: None)
        found = plant(source)
        assert len(found) > 30
        directory = source.target.backups.directory
        assert directory is not None
        staging = owner.directory("staging-canaries")
        create_backup(
            source.backup_source,
            directory,
            clock=SystemClock(),
            signing_key=source.signing_key,
            staging=staging,
        )
        document = json.loads(
            source.target.model_dump_json(by_alias=True, exclude={"derived"}, exclude_none=True)
        )
        with (tmp_path / "target.yml").open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(document, file)
        ambient = {"VAULT_TOKEN": f"hvs.{secrets.token_urlsafe(24)}", "PGPASSWORD": secrets.token_urlsafe(24)}
        found |= ambient
        found["signing key"] = (tmp_path / "key.pem").read_text(encoding="ascii").splitlines()[1]
        places = [Path(f"/tmp/smos-{os.geteuid()}"), Path("/dev/shm")]  # noqa: S108  (where owners keep their runs)
        with watching(found, [place for place in places if place.is_dir()]) as watch:
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "pytest", "-m", "dr", "-v", "--showlocals", "--tb=long"),
                    *(f"--target={tmp_path / 'target.yml'}", f"--reports={reports}"),
                    *(f"--signing-key={tmp_path / 'key.pem'}", f"--junitxml={tmp_path / 'pytest.xml'}"),
                ],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **ambient},
                capture_output=True,
                timeout=500,
                check=False,
            )
    output = done.stdout + done.stderr
    verdict = json.loads((reports / "verdict.json").read_bytes())
    assert verdict["checks"], output.decode()[-3000:]
    assert {item["verdict"] for item in verdict["checks"]} <= {"PASS", "NOT_PROVEN", "FAIL"}, output.decode()[
        -3000:
    ]
    (one,) = verify(reports, key=load_public(tmp_path / "key.pub"), today=SystemClock().now().date())
    assert one.result.value == "PASS"

    watch.search(output, "the terminal")
    files = [path for path in [*reports.rglob("*"), tmp_path / "pytest.xml"] if path.is_file()]
    assert len(files) > 60
    for path in files:
        watch.search(path.read_bytes(), f"file {path.relative_to(tmp_path)}")
    assert watch.seen == set()
    # The watch itself is worth something: it saw the servers' processes and logs, and it knows a canary when it sees one.
    assert any(b"postgres" in arguments for arguments in watch.processes)
    assert any(b"bao" in arguments for arguments in watch.processes)
    assert watch.logs
    watch.search(found["a row"].encode(), "itself")
    assert watch.seen == {("a row", "itself")}
