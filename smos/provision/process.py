"""A process that the guard started, as its runner sees it.

How it ended comes through a pipe that the guard writes to when it reaps it, so waiting needs no polling, and
a guard that died is told apart (the pipe ends without a word).
"""

import contextlib
import math
import os
import select
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smos.errors import DeadlineError, ProvisionError

KILLED_S = 10.0
"""Seconds that a killed process may take to vanish."""
LONGEST_TAIL = 1 << 16
"""Bytes of a log that are read for an error message."""


class OwnedProcess:
    """A process that the guard started. `isolation` is "network-namespace" or "configuration"."""

    def __init__(
        self,
        request: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        answer: Mapping[str, Any],
        status: int,
        *,
        name: str,
        log: Path | None,
    ) -> None:
        self.pid = int(answer["pid"])
        self.isolation = str(answer["isolation"])
        self.refusal = str(answer.get("refused", ""))
        """Why the network could not be cut, in the system's words; empty when it was or nobody asked."""
        self.name = name
        self._request = request
        self._status = status
        self._log = log
        self._code: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal that ended it), or None while it runs."""
        with contextlib.suppress(DeadlineError):
            return self.wait(0)
        return None

    def wait(self, timeout_s: float) -> int:
        """Wait for the end, return the exit code. Raises DeadlineError, or ProvisionError without a guard."""
        if self._code is None and not self._ended(timeout_s):
            raise DeadlineError(f"{self.name} (pid {self.pid}) still runs after {timeout_s:g} s")
        with self._lock:
            if self._code is None:
                text = os.read(self._status, 64)
                os.close(self._status)
                self._code = int(text) if text else -signal.SIGKILL
                if not text:
                    raise ProvisionError(
                        f"The guard of this run died, and {self.name} with it",
                        remedy="look for an out-of-memory kill in the system's log, then run again",
                        log=self.log_tail(),
                    )
            return self._code

    def _ended(self, timeout_s: float) -> bool:
        """Wait until the guard has told the end; without the lock, so that another thread can kill it."""
        poller = select.poll()
        poller.register(self._status, select.POLLIN)
        return bool(poller.poll(math.ceil(timeout_s * 1000))) or self._code is not None

    def forget(self) -> None:
        """Stop following it: its run is over."""
        with self._lock:
            if self._code is None:
                self._code = -signal.SIGKILL
                os.close(self._status)

    def __del__(self) -> None:
        self.forget()

    def send_signal(self, number: int, *, tree: bool = False) -> None:
        """Send a signal, with `tree` to its descendants as well; nothing happens when it has ended."""
        self._request({"op": "signal", "pid": self.pid, "signal": int(number), "tree": tree})

    def stop(self, timeout_s: float = 10, *, stop_signal: int = signal.SIGTERM) -> bool:
        """Ask it to end and wait; kill it after `timeout_s`. Returns whether it ended by itself."""
        if self.poll() is not None:
            return True
        self.resume()
        self.send_signal(stop_signal)
        try:
            self.wait(timeout_s)
        except DeadlineError:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """Kill it and everything it started, at once, and wait until it is gone."""
        if self.poll() is None:
            self.send_signal(signal.SIGKILL, tree=True)
            self.wait(KILLED_S)

    def pause(self) -> None:
        """Freeze it and everything it started: it holds its sockets and answers nobody."""
        self.send_signal(signal.SIGSTOP, tree=True)

    def resume(self) -> None:
        """Undo `pause`."""
        self.send_signal(signal.SIGCONT, tree=True)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log; empty when there is none."""
        if self._log is None or not self._log.is_file():
            return ""
        with self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LONGEST_TAIL))
            return tail(log.read(LONGEST_TAIL), lines)


def tail(output: bytes, lines: int = 20) -> str:
    """Return the last lines of a program's output."""
    return "\n".join(output.decode("utf-8", "replace").splitlines()[-lines:])
