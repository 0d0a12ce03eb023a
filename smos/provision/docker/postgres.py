"""PostgreSQL in a container: what the embedded server is, and does, with an image's programs instead of the wheel's.

Its data directory, configuration and socket are mounted at the paths that they have outside. In a private network it is
reached by TCP on a claimed loopback port, with a password that only the owner's passfile holds; without a network (the
sandbox), by its socket in a mounted directory. The client tools are this machine's.
"""

import dataclasses
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from smos.errors import DeadlineError, ProvisionError
from smos.provision.base import PostgresEndpoint, ServerProcess
from smos.provision.docker.catalogue import image_of
from smos.provision.docker.contained import Contained
from smos.provision.docker.containers import MEMORY, Containers, Place, containers_of
from smos.provision.docker.engine import engine, told
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import PostgresInstallation, choose_installation
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.wait import wait_for

if TYPE_CHECKING:
    from docker.models.networks import Network

PORT = 5432
"""The port inside of the container, which names its socket too."""
INITDB_S = 180
VERSION_S = 60
REACHED_S = 60.0
TCP_HBA = "host all all all scram-sha-256\nhost replication all all scram-sha-256\n"
"""Whoever comes over the network has to show a password, the superuser too."""


class DockerPostgres(Contained, EmbeddedPostgres):
    """One PostgreSQL server in a container of its owner's. Options: of EmbeddedPostgres.

    image: the name of one, for a major version of its own; None: the provisioner's. volumes: name of a volume to
    where it is mounted, beside the data directory. network, address: an internal network of its own, and its address
    there, instead of the private one: then nothing is published, and `endpoint` is the socket, for who sits beside it.
    """

    def __init__(
        self,
        owner: Owner,
        *,
        name: str,
        image: str | None = None,
        volumes: Mapping[str, str] | None = None,
        network: "Network | None" = None,
        address: str | None = None,
        **options: Any,
    ) -> None:
        self._containers = containers_of(owner)
        self._network, self._address = network, address
        self._shared: list[Place] = []
        self._volumes = dict(volumes or {})
        wanted = options.pop("installation", None)
        self._image = image or image_of("postgres", major=wanted.major if wanted else None)
        self._image_major = major_of(self._containers, self._image)
        super().__init__(owner, name=name, installation=_tools(self._image_major), **options)
        self.host = self._home.name.replace("-etc-", "-")
        """Its name in the private network."""
        self._port = None if self._no_network or network is not None else PortClaim()
        self._passfile: Path | None = None
        self._password = secrets.token_urlsafe(24)
        self._known = False

    @property
    def endpoint(self) -> PostgresEndpoint:
        """Where it is reached: TCP on a loopback port, or its socket where it has no network."""
        if self._port is None:
            return self._private_endpoint
        return dataclasses.replace(
            self._private_endpoint, host="127.0.0.1", port=self._port.port, passfile=self._passfile
        )

    def start(self, timeout_s: float = 60) -> None:
        """Start it and return when it answers a query where clients come in.

        Raises ProvisionError with the end of its log.
        """
        if self.running:
            return
        super().start(timeout_s)
        if not self._known:
            self._learn()
        if self._port is not None:
            self._admit_superuser()

    @property
    def configuration_dir(self) -> Path:
        """Where its configuration lies; it can't change it."""
        return self._home

    def _launch(self) -> ServerProcess:
        self._discard()
        return self._containers.run(
            self._image,
            ["postgres", *self._arguments()],
            name=self.host,
            log=self._log,
            places=self._places(),
            volumes=self._volumes,
            cwd=str(self.data_dir),
            no_network=self._no_network,
            network=self._network,
            address=self._address,
            ports={PORT: self._port.port} if self._port is not None else None,
            memory=max(MEMORY, _half_of_memory()),
        )

    def share(self, *places: Path, read_only: bool = False) -> None:
        """Let it use directories beside its own, from its next start on."""
        self._shared += [Place(outside=place, read_only=read_only) for place in places]

    def run_tool(self, tool: str, words: Sequence[str | Path], *, timeout_s: float) -> bytes:
        """Run one of the image's tools beside the stopped server, in a container that sees what the server sees.

        Returns its output (both streams). Raises ProvisionError.
        """
        return self._containers.call(
            self._image,
            [tool, *map(str, words)],
            name=f"{self.host}-{tool.replace('_', '-')}",
            timeout_s=timeout_s,
            places=self._places(),
            volumes=self._volumes,
            no_network=self._network is None,
            network=self._network,
        )

    def _places(self) -> list[Place]:
        return [
            Place(outside=self._home, read_only=True),
            Place(outside=self._socket_dir),
            Place(outside=self.data_dir),
            *self._shared,
        ]

    @property
    def _listens(self) -> bool:
        """Whether it takes connections over a network."""
        return self._port is not None or self._network is not None

    def _arguments(self) -> list[str]:
        words = super()._arguments()
        return [*words, "-c", "listen_addresses=*"] if self._listens else words

    def _configure(self) -> None:
        super()._configure()
        if self._listens:
            self._owner.write(self._home / "pg_hba.conf", self.hba + TCP_HBA)

    def _initialise(self) -> None:
        """Make a cluster: from the template of this machine's tools where they are of the image's version."""
        if self.installation.major == self._image_major:
            super()._initialise()
            return
        words = [*self._initdb_words(), "--locale", self._locale, "--pgdata", str(self.data_dir)]
        self.run_tool("initdb", words, timeout_s=INITDB_S)

    def _learn(self) -> None:
        """Ask the server what it is and which extensions it has: this machine's tools may be of another build."""
        with psycopg.connect(self._private_endpoint.conninfo()) as connection:
            number = connection.execute("SELECT current_setting('server_version_num')::int").fetchone()
            version = connection.execute(
                "SELECT split_part(current_setting('server_version'), ' ', 1)"
            ).fetchone()
            names = connection.execute("SELECT name FROM pg_available_extensions ORDER BY 1").fetchall()
        if number is None or version is None:
            raise ProvisionError(f"PostgreSQL {self.name} does not say which version it is")
        self.installation = dataclasses.replace(
            self.installation,
            version_num=int(number[0]),
            version=str(version[0]),
            origin=f"image {self._image}",
            extensions=tuple(str(row[0]) for row in names),
        )
        self._known = True

    def _admit_superuser(self) -> None:
        """Give the superuser a password, once, and wait until it opens the published port."""
        if self._passfile is None:
            with psycopg.connect(self._private_endpoint.conninfo(), autocommit=True) as connection:
                give_password(connection, self._superuser, self._password)
            self._passfile = write_passfile(self._owner, self.name, self._superuser, self._password)

        def reached() -> bool:
            with psycopg.connect(self.endpoint.conninfo(connect_timeout=10)) as connection:
                return connection.execute("SELECT 1").fetchone() is not None

        try:
            wait_for(
                reached,
                what=f"PostgreSQL {self.name} answers on its published port",
                deadline_s=REACHED_S,
                transient=(psycopg.OperationalError,),
                on_timeout=self.logs,
            )
        except DeadlineError as error:
            self.kill()
            raise ProvisionError(error.message, remedy=error.remedy, log=error.log) from error


def write_passfile(owner: Owner, name: str, role: str, password: str) -> Path:
    """Write a password file for libpq and return its path. role: whose password it is; "*" for everybody's."""
    path = owner.directory(f"{name}-pass", read_only=True) / "pgpass"
    # Tools run as the service user, also in containers, and libpq wants a file that nobody else can read.
    path.touch(mode=0o600)
    path.write_text(f"*:*:*:{role}:{password}\n", encoding="utf-8")
    owner.give(path)
    return path


def give_password(connection: "psycopg.Connection[Any]", role: str, password: str) -> None:
    """Give a role a password; the server hears its SCRAM verifier alone, in case it logs what it hears."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    words = sql.SQL("ALTER ROLE {} PASSWORD {}")
    connection.execute(words.format(sql.Identifier(role), sql.Literal(verifier.decode())))


_MAJORS: dict[str, int] = {}


def major_of(containers: Containers, image: str) -> int:
    """Return the major version of the PostgreSQL in an image: as its environment says, else as its program does.

    Raises ProvisionError.
    """
    if image not in _MAJORS:
        with told(f"look at the image {image}"):
            words = engine().images.get(image).attrs["Config"].get("Env") or []
        said = dict(word.partition("=")[::2] for word in words).get("PG_MAJOR", "")
        if not said.isdecimal():
            answer = containers.call(image, ["postgres", "--version"], name="version", timeout_s=VERSION_S)
            found = re.search(r"\b(\d+)\.", answer.decode("utf-8", "replace"))
            said = found[1] if found else ""
        if not said:
            raise ProvisionError(
                f"The image {image} does not say which PostgreSQL it holds",
                remedy="use an image with a `postgres` program in its PATH, as the official one and ours",
            )
        _MAJORS[image] = int(said)
    return _MAJORS[image]


def _tools(major: int) -> PostgresInstallation:
    """Return this machine's client tools for a server of this version: of the same, else the newest."""
    try:
        return choose_installation(major=major)
    except ProvisionError:
        return choose_installation()


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
