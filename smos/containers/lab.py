"""What a check of the container suite works with: servers in containers that it may look into, and break.

`shared` servers are only looked at; whatever breaks something starts its own. Faults change what containers are created
with (`alter`), what is asked for health (`ask`), and strike at moments that the drivers name (`strikes`).
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import psycopg

from smos.errors import ProvisionError
from smos.provision.docker.containers import Containers, containers_of
from smos.provision.docker.openbao import DockerOpenBao
from smos.provision.docker.postgres import DockerPostgres
from smos.provision.docker.process import ContainerProcess
from smos.provision.owner import Owner
from smos.vault.health import HealthState, read_health

CONNECT_S = 2
"""Seconds that a server may take to answer the question how it is; it takes milliseconds. Who must be well is asked
again; who must not be well may well be slow."""
Server = DockerOpenBao | DockerPostgres
Alter = Callable[[MutableMapping[str, Any]], object]
"""Changes the arguments with which a container is created."""
OPENBAO, POSTGRES, SANDBOX = "openbao", "postgres", "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One container that is looked at. ports: those that it may listen on beyond its own loopback.

    places: paths below which what it sees of the host may lie. data, configuration: its directories, as it sees them;
    empty: it has none that is known.
    """

    name: str
    process: ContainerProcess
    ports: frozenset[int]
    places: tuple[str, ...]
    data: str = ""
    configuration: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLab:
    """owner: of the servers. neighbour: of servers that stand for production; made on demand.

    kinds: which servers are looked at. alter, adjust (OpenBao's configuration), ask, strikes: what faults change.
    mended_s: seconds in which a mended service answers again; it takes milliseconds.
    """

    owner: Owner
    neighbour: Callable[[], Owner]
    kinds: tuple[str, ...] = (OPENBAO, POSTGRES, SANDBOX)
    alter: Alter | None = None
    adjust: Callable[[dict[str, Any]], object] | None = None
    ask: Callable[[Server, str], tuple[bool | None, str]] | None = None
    strikes: Mapping[str, Callable[..., object]] = field(default_factory=dict)
    mended_s: float = 60.0
    shared: dict[str, Server] = field(default_factory=dict)

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)

    @property
    def containers(self) -> Containers:
        """What the owner has on the engine."""
        return containers_of(self.owner)

    @contextmanager
    def subjects(self) -> Iterator[list[Subject]]:
        """Yield what is looked at: the shared servers, or where they are to be altered, servers of their own."""
        with ExitStack() as stack:
            found = []
            for kind in self.kinds:
                whole = self.alter is None and self.adjust is None
                if whole and kind in self.shared:
                    server = self.shared[kind]
                else:
                    server = self.make(kind, adjust=self.adjust) if kind == OPENBAO else self.make(kind)
                    if whole:
                        self.shared[kind] = server
                    else:
                        stack.callback(server.kill)
                    self.start(server)
                found.append(subject(kind, server))
            yield found

    @contextmanager
    def server(self, kind: str, **options: Any) -> Iterator[Server]:
        """Start a server that the block may break; it is killed at the end. Raises ProvisionError."""
        server = self.make(kind, **options)
        try:
            self.start(server)
            yield server
        finally:
            server.kill()

    def make(self, kind: str, owner: Owner | None = None, *, name: str = "", **options: Any) -> Server:
        """Return a server that was not started. name: as others know it (default: its kind)."""
        owner, name = owner or self.owner, name or kind
        if kind == OPENBAO:
            return DockerOpenBao(owner, name=name, memory=True, **{"storage": "inmem", **options})
        return DockerPostgres(
            owner, name=name, memory=True, no_network=kind == SANDBOX, settings=QUICK, **options
        )

    def start(self, server: Server) -> None:
        """Start it, its container created as the fault wants it. Raises ProvisionError."""
        with self.containers.altered(self.alter):
            server.start()

    def healthy(self, server: Server, state: str) -> tuple[bool | None, str]:
        """Ask the service itself how it is. state: what was done to it, for faults."""
        return (self.ask or (lambda asked, _state: health(asked)))(server, state)

    def strike(self, moment: str, *what: object) -> None:
        """Let a fault strike at this moment."""
        if moment in self.strikes:
            self.strikes[moment](*what)


QUICK = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}
"""For servers that are thrown away."""


def subject(kind: str, server: Server) -> Subject:
    """Return a running server as what is looked at. Raises ProvisionError when it does not run."""
    process = server.container
    if process is None:
        raise ProvisionError(f"The container of {server.name} does not run")
    ports = {OPENBAO: {8200, 8201}, POSTGRES: {5432}}.get(kind, set())
    directories = (str(server.data_dir), str(server.run_dir))
    return Subject(
        name=kind,
        process=process,
        ports=frozenset(ports),
        places=directories,
        data=str(server.data_dir),
        configuration=str(server.configuration_dir),
    )


def health(server: Server) -> tuple[bool | None, str]:
    """Ask a service how it is, where its clients come in: PostgreSQL a query, OpenBao its health call."""
    if isinstance(server, DockerPostgres):
        try:
            with psycopg.connect(
                server.endpoint.conninfo(connect_timeout=CONNECT_S, options="-c statement_timeout=5000")
            ) as connection:
                row = connection.execute("SELECT 42").fetchone()
        except psycopg.Error as error:
            return False, f"{type(error).__name__} {error.sqlstate or ''}".strip()
        return row == (42,), "it answered a query"
    endpoint = server.endpoint
    facts = read_health(endpoint.url, ca=endpoint.ca, limit_s=CONNECT_S)
    return facts.state is HealthState.ACTIVE, f"health says {facts.state}"
