"""A real PostgreSQL on a private Unix socket, started from whatever installation fits.

Whoever may enter the socket's directory (0700) is trusted; nothing listens on the network. The configuration
lies outside the data directory and what matters for safety is given on the command line, so that a data
directory that was restored from an untrusted backup can't bring commands or listeners of its own.
"""

import platform
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg

from smos.errors import DeadlineError, ProvisionError
from smos.provision.base import PostgresEndpoint, ServerProcess
from smos.provision.embedded.template import clone
from smos.provision.guard import CONFIGURED
from smos.provision.installations import PostgresInstallation, choose_installation
from smos.provision.owner import Owner
from smos.provision.relocate import reachable_installation
from smos.wait import wait_for

PORT = 5432
"""Only names the socket: `.s.PGSQL.5432` in a directory of its own."""
INITDB_S = 120
STOP_S = 60
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
PROFILE: Mapping[str, str] = {
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "jit": "off",
    "autovacuum_max_workers": "1",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # Segments in the data directory: those in /dev/shm would outlive a kill.
    "dynamic_shared_memory_type": "mmap",
}
"""For many small servers side by side. Lies in the configuration file, so ALTER SYSTEM overrides it."""
PROFILE_SINCE: Mapping[int, Mapping[str, str]] = {
    # Three more processes a server, which copy pages that lie in the page cache already: a fifth of a verification's
    # processor time on two cores.
    180000: {"io_method": "sync"},
}
"""What newer versions have beside it."""
HBA = "local all all trust\nlocal replication all trust\n"
"""Who may enter the socket's directory is trusted."""
FORCED: Mapping[str, str] = {
    "archive_mode": "off",
    "archive_command": "",
    "archive_cleanup_command": "",
    "recovery_end_command": "",
    "restore_command": "",
    "shared_preload_libraries": "",
    "ssl": "off",
}
"""Given on the command line: what a restored data directory says about these does not count."""


class EmbeddedPostgres:
    """One PostgreSQL server. Its data are removed with the owner, except in a `data_dir` that was given.

    settings: given on the command line, above everything else. no_network: in a network namespace without a
    route out (see `isolation` for what was reached). memory: data on tmpfs where there is room.
    data_dir: an existing cluster (of the service user's, 0700), or an empty directory for a new one. Its
    `postgresql.auto.conf` is still read, below `settings` and FORCED; one that names what this build lacks
    (`ssl = on` without OpenSSL) stops the start, so whoever restores a physical backup sets it aside.
    segment_mb: size of a segment of the write-ahead log (a power of 2; PostgreSQL's default is 16), for a new cluster.
    launcher: a program and its arguments, started as the harness' user, that ends by executing the server as the
    service user (see smos/instant/enter.py).
    """

    def __init__(
        self,
        owner: Owner,
        *,
        name: str,
        installation: PostgresInstallation | None = None,
        settings: Mapping[str, str] | None = None,
        no_network: bool = False,
        memory: bool = False,
        superuser: str = "postgres",
        encoding: str = "UTF8",
        locale: str = "C.UTF-8",
        locale_provider: str | None = None,
        data_dir: Path | None = None,
        launcher: Sequence[str] = (),
        segment_mb: int | None = None,
    ) -> None:
        self.name = name
        self.hba = HBA
        """Who may log in: written at every start."""
        self.installation = reachable_installation(installation or choose_installation(), owner.user)
        self.settings = dict(settings or {})
        self._owner = owner
        self._no_network = no_network
        self._launcher = tuple(launcher)
        self._superuser = superuser
        self._encoding, self._locale, self._provider = encoding, locale, locale_provider
        self._segment_mb = segment_mb
        self._process: ServerProcess | None = None
        self._isolation = CONFIGURED
        self._home = owner.directory(f"{name}-etc", read_only=True)
        self._socket_dir = owner.socket_directory(name)
        self._log = owner.run_dir / f"{self._home.name}.log"
        self.data_dir = data_dir or owner.directory(f"{name}-data", memory=memory)

    @property
    def endpoint(self) -> PostgresEndpoint:
        """Where it is reached: a socket that only its user and root can open."""
        return self._private_endpoint

    @property
    def _private_endpoint(self) -> PostgresEndpoint:
        return PostgresEndpoint(
            host=str(self._socket_dir),
            port=PORT,
            superuser=self._superuser,
            version_num=self.installation.version_num,
        )

    @property
    def isolation(self) -> str:
        """How its network is cut: "network-namespace", or only by "configuration"."""
        return self._isolation

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.poll() is None

    def share(self, *places: Path, read_only: bool = False) -> None:
        """Let it use directories beside its own, from its next start on; one in a container sees no others.

        read_only: what it may do there where that can be held; else the files' own modes decide.
        """

    def start(self, timeout_s: float = 60) -> None:
        """Start it and return when it answers a query; a new cluster is made first where there is none.

        Raises ProvisionError with the end of its log.
        """
        if self.running:
            return
        if not (self.data_dir / "PG_VERSION").is_file():
            self._initialise()
        self._configure()
        self._process = process = self._launch()
        self._isolation = process.isolation

        def answers() -> bool:
            if (code := process.poll()) is not None:
                raise ProvisionError(
                    f"PostgreSQL {self.name} ended while starting (exit code {code})",
                    remedy="the reason is in the log below",
                    log=process.log_tail(),
                )
            with psycopg.connect(self._private_endpoint.conninfo(connect_timeout=5)) as connection:
                return connection.execute("SELECT 1").fetchone() is not None

        try:
            wait_for(
                answers,
                what=f"PostgreSQL {self.name} answers a query",
                deadline_s=timeout_s,
                transient=(psycopg.OperationalError,),
                on_timeout=process.log_tail,
            )
        except DeadlineError as error:
            process.kill()
            raise ProvisionError(error.message, remedy=error.remedy, log=error.log) from error

    def stop(self, mode: str = "fast") -> None:
        """End it: "smart" waits for clients, "fast" disconnects them, "immediate" skips the checkpoint."""
        if self._process is not None:
            self._process.stop(STOP_S, stop_signal=STOP_SIGNALS[mode])
            self._process = None

    def restart(self, settings: Mapping[str, str] | None = None) -> None:
        """Stop it and start it again, with `settings` added to those it had."""
        self.stop()
        self.settings |= dict(settings or {})
        self.start()

    def kill(self) -> None:
        """End it as a power cut would, with every process it started."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def pause(self) -> None:
        """Freeze it: connections stay open and nobody answers."""
        if self._process is not None:
            self._process.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        if self._process is not None:
            self._process.resume()

    def logs(self) -> str:
        """Return everything it has logged, over all its starts."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""

    def _launch(self) -> ServerProcess:
        """Start the server on its data directory, and return at once."""
        return self._owner.spawn(
            [*self._launcher, self.installation.tool("postgres"), *self._arguments()],
            as_service_user=not self._launcher,  # it becomes the service user itself
            name=f"postgres {self.name}",
            log=self._log,
            cwd=self.data_dir,
            no_network=self._no_network,
            stop_signal=signal.SIGQUIT,
            death_signal=signal.SIGQUIT,  # only the postmaster can end its children
        )

    def _initdb_words(self) -> list[str]:
        """Return how every cluster is made, but for its locale."""
        words = ["--username", self._superuser, "--auth", "trust", "--no-sync", "--no-instructions"]
        words += ["--data-checksums", "--encoding", self._encoding]
        return words if self._segment_mb is None else [*words, "--wal-segsize", str(self._segment_mb)]

    def _initialise(self) -> None:
        words = self._initdb_words()
        provider, locale = self._provider, self._locale
        if platform.system() == "Darwin" and locale == "C.UTF-8" and provider is None:
            provider = "builtin"  # macOS has no such locale; PostgreSQL 17 and newer bring it along
        if provider is not None:
            words += ["--locale-provider", provider]
        words += (
            ["--locale", "C", "--builtin-locale", locale] if provider == "builtin" else ["--locale", locale]
        )

        def initdb(directory: Path) -> None:
            program = self.installation.tool("initdb")
            self._owner.run([program, *words, "--pgdata", directory], timeout_s=INITDB_S)

        clone(self._owner, self.installation, self.data_dir, repr(words), initdb)

    def _configure(self) -> None:
        profile = dict(PROFILE)
        for since, settings in PROFILE_SINCE.items():
            if self.installation.version_num >= since:
                profile |= settings
        files = {
            "postgresql.conf": "".join(f"{key} = {_quoted(value)}\n" for key, value in profile.items()),
            "pg_hba.conf": self.hba,
            "pg_ident.conf": "",
        }
        for name, text in files.items():
            self._owner.write(self._home / name, text)

    def _arguments(self) -> list[str]:
        values = {
            **FORCED,
            **self.settings,
            "config_file": str(self._home / "postgresql.conf"),
            "hba_file": str(self._home / "pg_hba.conf"),
            "ident_file": str(self._home / "pg_ident.conf"),
            "external_pid_file": str(self._socket_dir / "postmaster.pid"),  # "" would be an error
            "listen_addresses": "",
            "unix_socket_directories": str(self._socket_dir),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "log_destination": "stderr",
            "logging_collector": "off",
        }
        return [
            "-D",
            str(self.data_dir),
            *(word for key, value in values.items() for word in ("-c", f"{key}={value}")),
        ]


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
