"""The output of a program, block by block, bounded in every direction: no program can hang or flood the runner."""

import os
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from smos.errors import DeadlineError
from smos.live.errors import live_error
from smos.provision.owner import Owner

if TYPE_CHECKING:
    from smos.provision.process import OwnedProcess

BLOCK = 1 << 18
KEPT_ERROR = 4096
"""Bytes of what it said on stderr that are kept: the last ones."""
ENDS_S = 20.0
"""Seconds that it may take to end after its output has ended."""


class Stream:
    """One program and its output; a context manager that kills it. Owned: it does not outlive the run.

    Raises ProvisionError when it can't be executed.
    """

    def __init__(
        self, owner: Owner, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None
    ) -> None:
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._out, out = os.pipe()
        self._err, err = os.pipe()
        try:
            self._process: OwnedProcess = owner.tool(
                argv, (nothing, out, err), name=Path(argv[0]).name, env=env
            )
        except BaseException:
            os.close(self._out)
            os.close(self._err)
            raise
        finally:
            for descriptor in (nothing, out, err):
                os.close(descriptor)
        self._said = b""
        self._open = {self._out, self._err}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._process.kill()
        finally:
            for descriptor in self._open:
                os.close(descriptor)
            self._open = set()

    def blocks(self, *, stall_s: float, deadline: float) -> Iterator[bytes]:
        """Yield what it writes until it closes its output.

        stall_s: seconds without a byte. deadline: on the monotonic clock. Raises LiveError (fetch-stalled, which is
        transient; fetch-timed-out).
        """
        last = time.monotonic()
        while self._out in self._open:
            now = time.monotonic()
            if now >= deadline:
                raise live_error("fetch-timed-out", "the time for it was over before the data were")
            if now - last >= stall_s:
                raise live_error("fetch-stalled", f"nothing came for {stall_s:g} s", transient=True)
            ready = self._ready(min(stall_s - (now - last), deadline - now))
            if self._err in ready:
                self._hear()
            if self._out in ready:
                block = os.read(self._out, BLOCK)
                if block:
                    yield block
                    last = time.monotonic()  # while a slow disk took it, nobody waited for the host
                else:
                    self._close(self._out)

    def end(self, within_s: float = ENDS_S) -> int:
        """Wait until it has ended; return its exit code. Raises LiveError (host-timed-out)."""
        deadline = time.monotonic() + within_s
        while self._err in self._open and (left := deadline - time.monotonic()) > 0:
            if self._err in self._ready(left):
                self._hear()
        try:
            return self._process.wait(max(0.0, deadline - time.monotonic()))
        except DeadlineError:
            raise live_error("host-timed-out", "a command closed its output and did not end") from None

    @property
    def said(self) -> str:
        """The end of what it wrote to stderr, as one printable text."""
        return "".join(
            char if char.isprintable() or char == "\n" else "?"
            for char in self._said.decode("utf-8", "replace")
        ).strip()

    def _ready(self, seconds: float) -> set[int]:
        poller = select.poll()
        for descriptor in self._open:
            poller.register(descriptor, select.POLLIN | select.POLLHUP)
        return {descriptor for descriptor, _ in poller.poll(max(0.0, seconds) * 1000)}

    def _hear(self) -> None:
        text = os.read(self._err, BLOCK)
        if text:
            self._said = (self._said + text)[-KEPT_ERROR:]
        else:
            self._close(self._err)

    def _close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)
