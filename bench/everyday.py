"""The everyday parts: a fresh server, a backup of the built-in databases and back, a volume of many files."""

import importlib.util
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.measure import Table, timed
from smos.backup.archive import create_volume_archive
from smos.backup.catalog import read_catalog
from smos.backup.create import BackupSource, create_backup
from smos.backup.volumes import restore_archive
from smos.clock import SystemClock
from smos.drill.plan import choose_set, make_plan
from smos.drill.restore import restore_set
from smos.drill.sandbox import LOADING_SETTINGS, SANDBOX_ADMIN
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import choose_installation
from smos.provision.owner import Owner
from smos.provision.relocate import reachable_installation, reachable_python
from smos.selftest.source import fill_databases
from smos.target import Limits

DATABASES = ("smarteros", "n8n", "chatwoot", "botpress")
PEER_PYTHON = """
import sys, time
from pytest_postgresql.executors import PostgreSQLExecutor
for number in range(int(sys.argv[4])):
    started = time.monotonic()
    server = PostgreSQLExecutor(
        executable=sys.argv[1], host="127.0.0.1", port=int(sys.argv[3]) + number,
        datadir=f"{sys.argv[2]}/{number}/data",
        unixsocketdir=sys.argv[2], logfile=f"{sys.argv[2]}/log", startparams="-w", dbname="x", options="")
    server.start()
    print(time.monotonic() - started, flush=True)
    server.stop()
"""


def provisioning(owner: Owner, runs: int) -> Table:
    """Measure a fresh private PostgreSQL: ours (template, no polling), initdb with pg_ctl, and pytest-postgresql."""
    installation = choose_installation()
    number = iter(range(1000))
    table = Table("A fresh, private PostgreSQL that answers a query", "pytest-postgresql")
    pytest_postgresql(owner, table, runs)

    def ours() -> None:
        server = EmbeddedPostgres(owner, name=f"bench-{next(number)}")
        server.start()
        server.kill()

    def peer() -> None:
        data = owner.directory("peer") / "data"
        sockets = owner.socket_directory("peer")
        owner.run([installation.tool("initdb"), "-D", data, "-A", "trust", "--no-sync"], timeout_s=60)
        options = f"-c listen_addresses='' -c unix_socket_directories='{sockets}'"
        control = [installation.tool("pg_ctl"), "-D", data, "-w", "-l", data / "log"]
        owner.run([*control, "-o", options, "start"], timeout_s=60)
        owner.run([*control, "-m", "immediate", "stop"], timeout_s=60)

    ours()  # makes the template, which every later run finds
    for _ in range(runs):
        table.add("initdb, pg_ctl -w start", timed(peer))
        table.add("ours", timed(ours))
    return table


def pytest_postgresql(owner: Owner, table: Table, runs: int) -> None:
    """Measure the plugin's own executor, as the user that may run PostgreSQL; say so where it is not installed."""
    spec = importlib.util.find_spec("pytest_postgresql")
    python = reachable_python(owner.user)
    if spec is None or spec.origin is None or python is None:
        table.lack("pytest-postgresql", "not installed here (pip install pytest-postgresql)")
        return
    place = owner.directory("plugin")
    port = 20_000 + os.getpid() % 20_000
    control = reachable_installation(choose_installation(), owner.user).tool("pg_ctl")
    done = owner.run(
        [python, "-c", PEER_PYTHON, control, place, str(port), str(runs)],
        timeout_s=300,
        env={"PYTHONPATH": str(Path(spec.origin).parents[1])},
        check=False,
    )
    for line in done.stdout.decode().split():
        table.add("pytest-postgresql", float(line))
    if done.returncode:
        table.lack("pytest-postgresql", (done.stderr.decode().splitlines() or ["it failed"])[-1][:120])


def measure(owner: Owner, runs: int, scratch: Path) -> list[Table]:
    """Measure a backup of the built-in databases and back, and a volume."""
    return [*backup_and_restore(owner, runs), volumes(scratch, runs)]


def backup_and_restore(owner: Owner, runs: int) -> list[Table]:
    """Measure the built-in databases: manifest, lexer and isolation against the bare tools, one after the other."""
    source = EmbeddedPostgres(owner, name="source", settings={"fsync": "off"})
    source.start()
    fill_databases(source, DATABASES)
    tool, env = source.installation.tool, {**os.environ, **source.endpoint.env()}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        base = Path(name)
        number = iter(range(1000))

        def ours() -> None:
            folder = base / f"ours-{next(number)}"
            folder.mkdir()
            create_backup(
                BackupSource(
                    name="bench",
                    postgres=source.endpoint,
                    installation=source.installation,
                    databases=DATABASES,
                ),
                folder,
                clock=SystemClock(),
            )

        def peer() -> None:
            folder = base / f"peer-{next(number)}"
            folder.mkdir()
            roles = [tool("pg_dumpall"), "--globals-only", f"--file={folder / 'globals.sql'}"]
            subprocess.run([*roles, "--database=postgres"], env=env, check=True)
            for database in DATABASES:
                command = [tool("pg_dump"), "-Fc", f"--file={folder / database}", f"--dbname={database}"]
                subprocess.run(command, env=env, check=True)

        saving = Table("Backup of the four built-in databases", "pg_dump -Fc, no manifest")
        for _ in range(runs):
            saving.add("ours, with manifest", timed(ours))
            saving.add("pg_dump -Fc, no manifest", timed(peer))
        catalog = read_catalog(base / "ours-0", timezone="UTC")
        plan = make_plan(catalog, choose_set(catalog, None))

        def sandbox(superuser: str) -> EmbeddedPostgres:
            server = EmbeddedPostgres(
                owner,
                name=f"sandbox-{next(number)}",
                settings=LOADING_SETTINGS,
                superuser=superuser,
                no_network=True,
            )
            server.start()
            stack.callback(server.kill)
            return server

        table = Table(
            "Restore of the four built-in databases", "pg_restore as superuser, one after the other"
        )
        for _ in range(runs):
            server = sandbox(SANDBOX_ADMIN)
            started = time.monotonic()
            restore_set(
                server, plan.dumps, plan.globals_path, limits=Limits(), jobs=2,
                scratch=owner.directory("scratch"), progress=lambda _text: None,
            )  # fmt: skip
            table.add("ours, untrusted, without superuser", time.monotonic() - started)
            server = sandbox("postgres")
            bare = {**os.environ, **server.endpoint.env()}
            started = time.monotonic()
            bare_dumps = next(base.glob("peer-*"))
            roles = [tool("psql"), "-qX", "--dbname=postgres", f"--file={bare_dumps / 'globals.sql'}"]
            subprocess.run(roles, env=bare, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for database in DATABASES:
                command = [tool("pg_restore"), "--create", "--dbname=postgres"]
                subprocess.run([*command, bare_dumps / database], env=bare, check=True)
            table.add("pg_restore as superuser, one after the other", time.monotonic() - started)
        return [saving, table]


def volumes(base: Path, runs: int) -> Table:
    """Measure a volume of 2,000 files of 16 KiB: ours with a list of entries, against GNU tar with zstd."""
    root = base / "volume"
    for number in range(2000):
        file = root / f"{number % 40}" / f"file-{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(256) * 64)
    number = iter(range(1000))

    def ours() -> None:
        folder = base / f"ours-{next(number)}"
        folder.mkdir()
        create_volume_archive(root, "volume", folder / "volume.tar.zst", folder / "volume.jsonl.zst")
        (facts,) = restore_archive(
            folder / "volume.tar.zst",
            folder / "restored",
            volumes=("volume",),
            limits=Limits(),
            entries={"volume": folder / "volume.jsonl.zst"},
        )
        if facts.differences or not facts.compared:
            raise RuntimeError(f"the volume did not come back: {facts}")

    def peer() -> None:
        folder = base / f"peer-{next(number)}"
        folder.mkdir()
        subprocess.run(["tar", "--zstd", "-cf", folder / "v.tar.zst", "-C", root, "."], check=True)
        subprocess.run(["tar", "--zstd", "-xpf", folder / "v.tar.zst", "-C", folder], check=True)

    table = Table("A volume of 2,000 files of 16 KiB, out and back", "tar --zstd, nothing compared")
    for _ in range(runs):
        table.add("ours, every entry compared", timed(ours))
        table.add("tar --zstd, nothing compared", timed(peer))
    return table
