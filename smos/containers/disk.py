"""CONTAINER-07 and 08: a full disk stops what can't be written down, and nothing more.

Both disks are volumes on tmpfs of a few MiB, filled to the last byte from inside of the container. Vault must serve
nothing that its audit log has no room for; PostgreSQL must refuse writes, keep what was committed, and go on serving.
"""

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg

from smos.containers.lab import OPENBAO, POSTGRES, ContainerLab
from smos.containers.observation import Observation, Observations, seen_in
from smos.errors import DeadlineError, ProvisionError
from smos.provision.docker.openbao import DockerOpenBao
from smos.provision.docker.postgres import DockerPostgres
from smos.vault.model import opened
from smos.vault.verify.bare import opened_up, send
from smos.vault.verify.probe import ask
from smos.wait import wait_for

AUDIT_BYTES = 2 * 2**20
DISK_BYTES = 24 * 2**20
MOST_REQUESTS = 60
"""The last page of the log has room for a few entries when the disk is full already."""
REFUSED_IN_A_ROW = 5
PLACE = "/full"
FILLER = "filler"
DISK_FULL = "53100"
BACK_S = 60.0


def vault(lab: ContainerLab) -> Observations:
    """Fill the disk of the audit log; ask for reads and writes; make room again."""
    volume = lab.containers.make_volume("audit", options=_tmpfs(lab, AUDIT_BYTES))
    with lab.server(OPENBAO, work_volume=volume.name, adjust=lab.adjust) as server:
        assert isinstance(server, DockerOpenBao)  # noqa: S101  (that kind was asked for)
        with opened(server.endpoint) as client:
            opened_up(client)
            return Observations(observed=tuple(_vault(lab, server, client)))


def _vault(lab: ContainerLab, server: DockerOpenBao, client: Any) -> Iterator[Observation]:
    saw = seen_in(OPENBAO)
    place = f"cubbyhole/{secrets.token_hex(6)}"

    def write(name: str) -> int | None:
        return ask(send(client, "POST", f"{place}/{name}", {"value": "x" * 64}))[0]

    yield saw("audit-before", write("before") == 200, "with room on the disk")
    inside = _Inside(server)
    inside.fill(str(server.work_dir))
    states = [write("while")]
    while len(states) < MOST_REQUESTS and states[-REFUSED_IN_A_ROW:] != [500] * REFUSED_IN_A_ROW:
        states.append(write("while"))
    blocked = states[-REFUSED_IN_A_ROW:] == [500] * REFUSED_IN_A_ROW
    served = sum(state == 200 for state in states)
    yield saw("audit-full-write", blocked, f"{served} of {len(states)} writes were served on a full disk")
    state = ask(send(client, "GET", f"{place}/before"))[0]
    yield saw("audit-full-read", None if state is None else state == 500, f"a read was answered {state}")
    refused = write("refused")
    text = inside.read(f"{server.work_dir}/audit.log")
    paths = [line for line in text.splitlines() if f'"{place}/while"' in line and '"type":"request"' in line]
    yield saw("audit-served-logged", len(paths) >= served, f"{len(paths)} entries for {served} served writes")
    lab.strike("audit disk mended", server) if "audit disk mended" in lab.strikes else inside.empty(
        str(server.work_dir)
    )
    state = write("after")
    yield saw("audit-recovers", state == 200, f"with room again a write is answered {state}")
    kept = ask(send(client, "GET", f"{place}/refused"))[0]
    yield saw("audit-refused-undone", None if refused == 200 else kept == 404, f"the refused write: {kept}")


def postgres(lab: ContainerLab) -> Observations:
    """Fill the disk under a table; write and read; make room again."""
    volume = lab.containers.make_volume("disk", options=_tmpfs(lab, DISK_BYTES))
    with lab.server(POSTGRES, volumes={volume.name: PLACE}) as server:
        assert isinstance(server, DockerPostgres)  # noqa: S101  (that kind was asked for)
        return Observations(observed=tuple(_postgres(lab, server)))


def _postgres(lab: ContainerLab, server: DockerPostgres) -> Iterator[Observation]:
    saw = seen_in(POSTGRES)
    inside = _Inside(server)
    inside.run(f"mkdir -m 0700 {PLACE}/space")
    _sql(server, f"CREATE TABLESPACE full_space LOCATION '{PLACE}/space'")
    _sql(server, "CREATE TABLE kept (id int PRIMARY KEY, note text) TABLESPACE full_space")
    _sql(
        server,
        "INSERT INTO kept SELECT i, repeat('x', 100) FROM generate_series(1, 1000) AS i",
        "CHECKPOINT",
    )
    before = _digest(server)
    inside.fill(PLACE)
    lab.strike("disk full", server)
    more = "INSERT INTO kept SELECT i, repeat('y', 1000) FROM generate_series(1001, 6000) AS i"
    state = _sql(server, more)
    yield saw("disk-refused", state == DISK_FULL, f"a write on a full disk: {state or 'it was taken'}")
    yield saw("disk-serves", _sql(server, "SELECT count(*) FROM kept") == "", "a read on a full disk")
    yield saw("disk-kept", _digest(server) == before, "what was committed, read on a full disk")
    lab.strike("disk mended", server)
    inside.empty(PLACE)
    state = _sql(server, "INSERT INTO kept VALUES (0, 'room again')", "DELETE FROM kept WHERE id = 0")
    yield saw("disk-recovers", state == "", f"with room again: {state or 'a write was taken'}")
    recovered = _crash(server, inside)
    kept = _digest(server) == before
    yield saw(
        "disk-crash-kept", kept if recovered else None, "what was committed, after a crash and its recovery"
    )


class _Inside:
    """Runs things inside of a server's container, as its own user."""

    def __init__(self, server: DockerOpenBao | DockerPostgres) -> None:
        import testinfra

        process = server.container
        if process is None:
            raise ProvisionError(f"The container of {server.name} does not run")
        self._host = testinfra.get_host(f"docker://{process.container.name}")

    def run(self, command: str) -> int:
        return int(self._host.run(command).rc)

    def read(self, path: str) -> str:
        return str(self._host.run("cat %s", path).stdout)

    def fill(self, place: str) -> None:
        """Write until nothing more fits. Raises ProvisionError where the disk does not get full."""
        for block in (65536, 1):
            self._host.run(f"dd if=/dev/zero of={place}/{FILLER}.{block} bs={block} 2>/dev/null")
        if self._host.run(f"dd if=/dev/zero of={place}/{FILLER}.more bs=4096 count=1").rc == 0:
            raise ProvisionError(
                f"The disk at {place} does not get full", remedy="is it a volume of its own?"
            )

    def empty(self, place: str) -> None:
        """Make room again."""
        self._host.run(f"rm -f {place}/{FILLER}.*")


def _tmpfs(lab: ContainerLab, size: int) -> dict[str, str]:
    uid, _, gid = lab.containers.user.partition(":")
    return {"type": "tmpfs", "device": "tmpfs", "o": f"size={size},uid={uid},gid={gid},mode=0700"}


def _sql(server: DockerPostgres, *statements: str) -> str:
    """Run statements; return the state of the one that failed, else nothing."""
    try:
        with psycopg.connect(server.endpoint.conninfo(connect_timeout=10), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate or "no answer"
    return ""


def _crash(server: DockerPostgres, inside: _Inside) -> bool:
    """Kill a session's process: PostgreSQL ends all others and recovers from its log. Whether it is back."""
    try:
        connection = psycopg.connect(server.endpoint.conninfo(connect_timeout=10), autocommit=True)
    except psycopg.Error:
        return False
    with connection:
        inside.run(f"kill -KILL {connection.info.backend_pid}")
        try:
            wait_for(lambda: _recovered(server), what="PostgreSQL is back", deadline_s=BACK_S)
        except DeadlineError:
            return False
    return True


def _recovered(server: DockerPostgres) -> bool:
    """Whether a new session is served, and the log says that there was a recovery."""
    return _sql(server, "SELECT 1") == "" and "reinitializing" in server.logs()


def _digest(server: DockerPostgres) -> str | None:
    query = b"SELECT count(*) || ' ' || md5(string_agg(id || note, ',' ORDER BY id)) FROM kept"
    try:
        with psycopg.connect(server.endpoint.conninfo(connect_timeout=10)) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.Error:
        return None
    return None if row is None else str(row[0])
