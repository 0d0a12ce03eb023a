"""Run every benchmark, print medians and ratios; below 1.00 we are faster than the peer."""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

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
from smos.selftest.source import fill_databases
from smos.target import Limits

RUNS = 3
DATABASES = ("smarteros", "n8n", "chatwoot", "botpress")


def median_s(work: Callable[[], object]) -> float:
    """Return the median of RUNS wall times in seconds, after one run that is not counted."""
    seconds = []
    for _ in range(RUNS + 1):
        started = time.monotonic()
        work()
        seconds.append(time.monotonic() - started)
    return statistics.median(seconds[1:])


def show(what: str, ours: float, peer: str, theirs: float) -> None:
    """Print one line of the table."""
    print(f"{what:<34} {ours:8.3f} s   {peer:<34} {theirs:8.3f} s   ratio {ours / theirs:5.2f}")


def provisioning(owner: Owner) -> None:
    """Measure a fresh private PostgreSQL: ours (template, no polling) against initdb and `pg_ctl -w start`."""
    installation = choose_installation()
    number = iter(range(1000))

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

    show("PostgreSQL, fresh and private", median_s(ours), "initdb, pg_ctl -w start", median_s(peer))


def backup_and_restore(owner: Owner) -> None:
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

        show("backup with manifest, 4 databases", median_s(ours), "pg_dump -Fc, no manifest", median_s(peer))
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

        seconds: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(RUNS):
            server = sandbox(SANDBOX_ADMIN)
            started = time.monotonic()
            restore_set(
                server, plan.dumps, plan.globals_path, limits=Limits(), jobs=2,
                scratch=owner.directory("scratch"), progress=lambda _text: None,
            )  # fmt: skip
            seconds["ours"].append(time.monotonic() - started)
            server = sandbox("postgres")
            bare = {**os.environ, **server.endpoint.env()}
            started = time.monotonic()
            bare_dumps = next(base.glob("peer-*"))
            roles = [tool("psql"), "-qX", "--dbname=postgres", f"--file={bare_dumps / 'globals.sql'}"]
            subprocess.run(roles, env=bare, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for database in DATABASES:
                command = [tool("pg_restore"), "--create", "--dbname=postgres"]
                subprocess.run([*command, bare_dumps / database], env=bare, check=True)
            seconds["peer"].append(time.monotonic() - started)
        ours_s, peer_s = (statistics.median(seconds[side]) for side in ("ours", "peer"))
        show("restore of untrusted dumps", ours_s, "pg_restore as superuser", peer_s)


def volumes() -> None:
    """Measure a volume of 2,000 files of 16 KiB: ours with a list of entries, against GNU tar with zstd."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
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

        show("volume out, back and compared", median_s(ours), "tar --zstd out and back", median_s(peer))


def main() -> None:
    """Run them all."""
    with Owner("bench") as owner:
        provisioning(owner)
        backup_and_restore(owner)
    volumes()


if __name__ == "__main__":
    main()
