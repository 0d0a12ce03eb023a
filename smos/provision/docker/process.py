"""A server's container, as its runner sees it: the interface of OwnedProcess, so that servers need not know.

Signals go to its first process. Paused is frozen by the kernel, with every process in it. A container that has ended is
removed with its anonymous volumes as soon as its log is kept.
"""

import contextlib
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smos.errors import DeadlineError, ProvisionError
from smos.provision.docker.engine import told
from smos.provision.guard import ISOLATED
from smos.wait import wait_for

if TYPE_CHECKING:
    from docker.models.containers import Container

KILLED_S = 60.0
"""Seconds that a killed container may take to end; a busy engine needs some."""
BRIDGED = "container-network"
"""What `isolation` says of a container in a private network of its run's."""
KILLED_CODE = -int(signal.SIGKILL)
LAST_LINES = 20


class ContainerProcess:
    """A running container. `isolation` is "network-namespace" (no network at all) or "container-network"."""

    def __init__(self, container: "Container", *, name: str, log: Path | None, no_network: bool) -> None:
        self.container = container
        self.name = name
        self.isolation = ISOLATED if no_network else BRIDGED
        self.refusal = ""
        self._log = log
        self._code: int | None = None
        self._pid = 0
        self._lock = threading.RLock()
        self.removed_at: float | None = None
        """When it was removed, on the monotonic clock."""

    @property
    def pid(self) -> int:
        """Its first process, as the host counts; 0 when it does not run."""
        if not self._pid and self._code is None:
            self._pid = int(self._state().get("Pid") or 0)
        return self._pid

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal that ended it), or None while it runs."""
        with self._lock:
            if self._code is None:
                state = self._state()
                if state.get("Status") in {"exited", "dead", "removing", "gone"}:
                    code = int(state.get("ExitCode", -KILLED_CODE))
                    self._code = 128 - code if code > 128 else code
            return self._code

    def wait(self, timeout_s: float) -> int:
        """Wait for the end, return the exit code. Raises DeadlineError."""
        ended: list[int] = []

        def over() -> bool:
            if (code := self.poll()) is not None:
                ended.append(code)
            return bool(ended)

        wait_for(over, what=f"{self.name} has ended", deadline_s=timeout_s)
        return ended[0]

    def send_signal(self, number: int) -> None:
        """Send a signal to its first process; nothing happens when it has ended."""
        import docker

        with told(f"signal {self.name}"), contextlib.suppress(docker.errors.NotFound):
            try:
                self.container.kill(signal=int(number))
            except docker.errors.APIError as error:
                if error.status_code != 409:  # it does not run
                    raise

    def stop(self, timeout_s: float = 10, *, stop_signal: int = signal.SIGTERM) -> bool:
        """Ask it to end and wait; kill it after `timeout_s`. Returns whether it ended by itself."""
        if self.poll() is None:
            self.resume()
            self.send_signal(stop_signal)
            try:
                self.wait(timeout_s)
            except DeadlineError:
                self.kill()
                return False
        self.discard()
        return True

    def kill(self) -> None:
        """Kill it with everything in it, at once, and remove it."""
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)  # first: what is frozen and fenced must not wake up to go on
            with contextlib.suppress(ProvisionError):  # thawed by the engine already; else the wait says so
                self.resume()
            self.wait(KILLED_S)
        self.discard()

    def pause(self) -> None:
        """Freeze it: it holds its sockets and answers nobody."""
        with told(f"pause {self.name}"):
            self.container.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        if self._state().get("Paused"):
            with told(f"resume {self.name}"):
                self.container.unpause()

    def discard(self) -> None:
        """Keep its log and remove it; may be called again."""
        import docker

        with self._lock, told(f"remove {self.name}"), contextlib.suppress(docker.errors.NotFound):
            if self.removed_at is not None:
                return
            if self._log is not None:
                with self._log.open("ab") as file:
                    file.write(self.container.logs())
            self.container.remove(force=True, v=True)
            self.removed_at = time.monotonic()
            if self._code is None:
                self._code = KILLED_CODE

    def output(self) -> bytes:
        """Return what it has written so far; nothing when it was removed, for its log is in a file then."""
        import docker

        if self.removed_at is not None:
            return b""
        with told(f"read the log of {self.name}"):
            try:
                return bytes(self.container.logs())
            except docker.errors.NotFound:
                return b""

    def kept_output(self) -> bytes:
        """Return what it has written, from its file when it was removed (with that of earlier starts)."""
        if self.removed_at is None:
            return self.output()
        return self._log.read_bytes() if self._log is not None and self._log.is_file() else b""

    def log_tail(self, lines: int = LAST_LINES) -> str:
        """Return the last lines of its log."""
        try:
            output = self.kept_output()
        except ProvisionError:
            return ""  # the error that wants the log says more
        return "\n".join(output.decode("utf-8", "replace").splitlines()[-lines:])

    def forget(self) -> None:
        """Stop following it: its run is over."""

    def _state(self) -> dict[str, Any]:
        import docker

        with told(f"tell the state of {self.name}"):
            try:
                found = self.container.client.api.inspect_container(self.container.id)["State"]
            except docker.errors.NotFound:
                return {"Status": "gone", "ExitCode": 137}
        return dict(found)
