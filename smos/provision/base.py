"""What every server of the harness can do, and the typed endpoints it hands over.

A suite sees endpoints only, so it never knows whether a server is embedded, in a container, or live.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import hvac

CLIENT_TIMEOUT_S = 30
"""Seconds that one request to a Vault may take."""


class Server(Protocol):
    """A server that the harness started."""

    def start(self) -> None:
        """Start it and return when it answers. Raises ProvisionError with the end of its log."""

    def stop(self) -> None:
        """End it in an orderly way; nothing happens when it does not run."""

    def kill(self) -> None:
        """End it as a crash would: at once, without a chance to write anything."""

    def pause(self) -> None:
        """Freeze it: it keeps its socket and answers nobody."""

    def resume(self) -> None:
        """Undo `pause`."""

    def logs(self) -> str:
        """Return the whole log."""

    @property
    def endpoint(self) -> Any:
        """Where it is reached."""


class ServerProcess(Protocol):
    """What runs a server: a process of this machine, or a container."""

    @property
    def pid(self) -> int:
        """Its first process, as this machine counts."""

    @property
    def isolation(self) -> str:
        """How its network is cut."""

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def wait(self, timeout_s: float) -> int:
        """Wait for the end, return the exit code. Raises DeadlineError."""

    def send_signal(self, number: int) -> None:
        """Send a signal to its first process."""

    def stop(self, timeout_s: float = 10, *, stop_signal: int = 15) -> bool:
        """Ask it to end and wait; kill it after `timeout_s`. Returns whether it ended by itself."""

    def kill(self) -> None:
        """Kill it with everything it started, at once."""

    def pause(self) -> None:
        """Freeze it."""

    def resume(self) -> None:
        """Undo `pause`."""

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresEndpoint:
    """Where a PostgreSQL is reached. host: a socket directory or an address. version_num: e.g. 180006.

    passfile: libpq's file with the superuser's password, where the server asks for one; its path is no secret.
    """

    host: str
    port: int
    superuser: str
    version_num: int
    passfile: Path | None = None

    def conninfo(self, dbname: str = "postgres", user: str | None = None, **options: Any) -> str:
        """Return the connection string for psycopg and the tools, with further libpq options."""
        from psycopg.conninfo import make_conninfo

        if self.passfile is not None:
            options = {"passfile": str(self.passfile), **options}
        return make_conninfo(
            host=self.host, port=self.port, dbname=dbname, user=user or self.superuser, **options
        )

    def env(self) -> dict[str, str]:
        """Return the environment for PostgreSQL's command-line tools."""
        found = {"PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.superuser}
        if self.passfile is not None:
            found["PGPASSFILE"] = str(self.passfile)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultEndpoint:
    """Where a Vault or OpenBao is reached; `http+unix://` with the quoted path names a socket.

    ca: PEM file of the authority to trust instead of the system's.
    """

    url: str
    ca: Path | None = None

    def client(self, token: str | None = None) -> "hvac.Client":
        """Return a client that knows this token and nothing of the environment (no VAULT_TOKEN, no proxy)."""
        import hvac
        import requests

        from smos.provision.unixhttp import SocketAdapter

        session = requests.Session()
        session.mount("http+unix://", SocketAdapter())  # type: ignore[no-untyped-call]  # not annotated there
        session.trust_env = False
        if self.ca is not None:
            session.verify = str(self.ca)
        client = hvac.Client(url=self.url, token=token or "", session=session, timeout=CLIENT_TIMEOUT_S)
        if not token:
            client.token = None
        return client


def start_all(*servers: Server) -> None:
    """Start several servers at the same time; the first error is raised when all have come up or failed."""
    _at_once([server.start for server in servers])


def _at_once(actions: Sequence[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(max_workers=max(1, len(actions))) as pool:
        for done in [pool.submit(action) for action in actions]:
            done.result()
