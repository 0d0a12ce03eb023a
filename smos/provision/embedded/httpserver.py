"""What the embedded HTTP servers share: one owned process that says by HTTP when it is ready."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from smos.errors import DeadlineError, ProvisionError
from smos.http import trust
from smos.provision.base import ServerProcess
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.wait import wait_for

STOP_S = 20
ANSWER_S = 5
"""Seconds that one request for readiness may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How the process is started. env: never on the command line, so secrets may be in it."""

    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    as_service_user: bool = True


class HttpServer:
    """One server process on loopback. What it is comes from `_launch`, and `_ready_url` or `_answers`.

    make: what it is, for messages ("ClickHouse").
    """

    make = "server"

    def __init__(self, owner: Owner, *, name: str) -> None:
        self.name = name
        self._owner = owner
        self._process: ServerProcess | None = None
        self._etc = owner.directory(f"{name}-etc", read_only=True)
        self._work = owner.directory(f"{name}-work")
        self._log = owner.run_dir / f"{self._etc.name}.log"

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self.running and self._process is not None else None

    def start(self, timeout_s: float = 180) -> None:
        """Start it and return when it says that it is ready. Raises ProvisionError with the end of its log."""
        if self.running:
            return
        process = self._process = self._spawn(self._launch())
        with httpx.Client(trust_env=False, verify=trust(), timeout=ANSWER_S) as client:

            def ready() -> bool:
                if (code := process.poll()) is not None:
                    raise ProvisionError(
                        f"{self.make} {self.name} ended while starting (exit code {code})",
                        remedy="the reason is in the log below",
                        log=process.log_tail(),
                    )
                return self._answers(client)

            try:
                wait_for(
                    ready,
                    what=f"{self.make} {self.name} is ready",
                    deadline_s=timeout_s,
                    transient=(httpx.TransportError, OSError),
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

    def logs(self) -> str:
        """Return everything it has logged, over all its starts."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""

    def exposed(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Return where what listens on these addresses (`host:port`) is reached on this machine: just there."""
        return tuple(addresses)

    def _spawn(self, launch: Launch) -> ServerProcess:
        return self._owner.spawn(
            launch.argv,
            name=f"{self.make} {self.name}",
            log=self._log,
            cwd=self._work,
            env={"HOME": str(self._work), "TMPDIR": str(self._work), **launch.env},
            as_service_user=launch.as_service_user,
            stop_signal=signal.SIGKILL,  # when the run ends its data are thrown away
        )

    def _bound(self, claim: PortClaim) -> str:
        """Return the address on which it listens to be reached at this claim's."""
        return claim.address

    def _reached(self, address: str) -> str:
        """Return how it reaches what the harness reaches at this address or URL."""
        return address

    def _launch(self) -> Launch:
        """Write its configuration and return how it is started."""
        raise NotImplementedError

    def _answers(self, client: httpx.Client) -> bool:
        """Ask it whether it is ready."""
        return client.get(self._ready_url()).status_code == httpx.codes.OK

    def _ready_url(self) -> str:
        """Return the URL that answers 200 when it is ready."""
        raise NotImplementedError
