"""One host: runs commands of the allow list on it, records every one, and holds each to its bounds."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from smos.live.commands import argv
from smos.live.errors import LiveError, live_error
from smos.live.facts import CommandFacts
from smos.live.stream import Stream
from smos.live.transport import COMMAND_NOT_FOUND, Transport
from smos.provision.owner import Owner

ANSWER_BYTES = 1 << 18
"""Most bytes that the answer of a short command may have."""
ANSWER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command left. out: bytes of stdout. took_s: seconds; began_s: on the monotonic clock."""

    code: int
    out: bytes
    said: str
    began_s: float
    took_s: float


@dataclass(slots=True)
class _Tally:
    words: tuple[str, ...]
    times: int = 0
    seconds: float = 0.0
    bytes_out: int = 0
    failed: int = 0


@dataclass(slots=True)
class Host:
    """A host of yours. Nothing is run on it but what `smos/live/commands.yml` lists; `commands` says what was."""

    transport: Transport
    owner: Owner
    _tallies: dict[str, _Tally] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """Connect. Raises LiveError."""
        self.transport.open()

    @property
    def commands(self) -> tuple[CommandFacts, ...]:
        """What was run, in the order in which each command was first used."""
        with self._lock:
            return tuple(
                CommandFacts(
                    name=name,
                    words=tally.words,
                    times=tally.times,
                    seconds=round(tally.seconds, 3),
                    bytes_out=tally.bytes_out,
                    failed=tally.failed,
                )
                for name, tally in self._tallies.items()
            )

    def ask(self, name: str, *, seconds: float = ANSWER_S, limit: int = ANSWER_BYTES, **words: str) -> Answer:
        """Run a short command and return its answer, whatever its exit code. Raises LiveError."""
        began = time.monotonic()
        parts: list[bytes] = []
        size = 0
        with self._run(name, words) as stream:
            try:
                for block in stream.blocks(stall_s=seconds, deadline=began + seconds):
                    size += len(block)
                    if size > limit:
                        raise live_error(
                            "host-answer-too-long",
                            f"`{name}` on {self.transport.shown} does not stop after {limit} bytes",
                        )
                    parts.append(block)
            except LiveError as error:
                if error.code in {"fetch-stalled", "fetch-timed-out"}:
                    raise live_error(
                        "host-timed-out", f"`{name}` on {self.transport.shown} took longer than {seconds:g} s"
                    ) from None
                raise
            code = self._ended(name, stream)
            return Answer(
                code=code,
                out=b"".join(parts),
                said=stream.said,
                began_s=began,
                took_s=time.monotonic() - began,
            )

    @contextmanager
    def read(self, name: str, *, stall_s: float, deadline: float, **words: str) -> Iterator[Iterator[bytes]]:
        """Give the blocks of a long answer; the command's end is looked at when they are through. Raises LiveError."""
        with self._run(name, words) as stream:

            def blocks() -> Iterator[bytes]:
                yield from stream.blocks(stall_s=stall_s, deadline=deadline)
                code = self._ended(name, stream)
                if code != 0:
                    last = stream.said.splitlines()[-1:] or [f"exit code {code}"]
                    raise live_error("host-command-failed", f"`{name}` failed: {last[0][:200]}")

            yield self._counted(name, blocks())

    @contextmanager
    def _run(self, name: str, words: dict[str, str]) -> Iterator[Stream]:
        there = argv(name, **words)
        with self._lock:
            tally = self._tallies.setdefault(name, _Tally(tuple(there)))
            tally.times += 1
        began = time.monotonic()
        try:
            with Stream(self.owner, self.transport.words(there), env=self.transport.env()) as stream:
                yield stream
        except BaseException:
            with self._lock:
                tally.failed += 1
            raise
        finally:
            with self._lock:
                tally.seconds += time.monotonic() - began

    def _ended(self, name: str, stream: Stream) -> int:
        code = stream.end()
        trouble = self.transport.trouble(code, stream.said)
        if trouble is not None:
            raise trouble
        if code == COMMAND_NOT_FOUND:
            raise live_error(
                "host-command-missing", f"{self.transport.shown} does not know the command of `{name}`"
            )
        return code

    def _counted(self, name: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            with self._lock:
                self._tallies[name].bytes_out += len(block)
            yield block
