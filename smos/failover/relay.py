"""A node's network: everybody but its administrator reaches a server through a relay, which can be cut.

A process of its own, so that what it costs does not lie in the client's measurements, and so that a black hole is a
real one: a process that is frozen.
"""

import socket
import sys
from pathlib import Path

from smos.failover import relay_program
from smos.provision.owner import OwnedProcess, Owner
from smos.wait import wait_for

START_S = 60.0
"""Seconds within which a relay listens; it takes some 0.05 s on a quiet machine."""


class Relay:
    """Passes connections on `listen` to `upstream` (paths of Unix sockets)."""

    def __init__(self, owner: Owner, *, name: str, listen: Path, upstream: Path) -> None:
        self.name = name
        self.listen = listen
        self._owner = owner
        self._upstream = upstream
        self._process: OwnedProcess | None = None
        self._log = owner.run_dir / f"relay-{name}.log"

    def start(self) -> None:
        """Start it, and return when it takes connections; nothing happens when it runs."""
        if self._process is not None:
            return
        process = self._owner.spawn(
            [sys.executable, "-I", "-S", str(relay_program.__file__), str(self.listen), str(self._upstream)],
            name=f"relay {self.name}",
            log=self._log,
            as_service_user=False,  # it runs the harness' own Python, which the service user may not reach
        )
        self._process = process
        wait_for(
            self._takes_connections,
            what=f"the relay {self.name} listens",
            deadline_s=START_S,
            transient=(OSError,),
            on_timeout=process.log_tail,
        )

    @property
    def pid(self) -> int:
        """Its process id; 0 where there is none."""
        return self._process.pid if self._process is not None else 0

    def cut(self) -> None:
        """Let nothing pass any more, silently: connections stay open, nobody answers."""
        if self._process is not None:
            self._process.pause()

    def heal(self) -> None:
        """Undo `cut`."""
        if self._process is not None:
            self._process.resume()

    def kill(self) -> None:
        """Break every connection; the next ones are refused."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        self.listen.unlink(missing_ok=True)

    def _takes_connections(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(self.listen))
        return True
