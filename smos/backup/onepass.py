"""One pass over one stored file: its hash, decryption, decompression to the end, entropy, and a consumer."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol

from smos.backup.envelope import Opening, is_sealed
from smos.backup.streams import (
    EntropyMeter,
    StreamFault,
    decompress,
    detect_compression,
    detect_encryption,
)
from smos.target import Limits
from smos.verdict import Problem

CHUNK_BYTES = 1 << 18
PEEK_BYTES = 8192
RATIO_FREE_BYTES = 16 << 20
"""The limit on expansion does not count below this: small things may expand as they like."""


class Consumer(Protocol):
    """Takes the content of a file, in order."""

    def feed(self, data: bytes) -> object:
        """Take the next bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFacts:
    """What the pass saw. whole: the content was read to its end without a fault. other: {algorithm: hex}."""

    stored_bytes: int
    content_bytes: int
    compression: str
    encryption: str
    sha256: str
    other: dict[str, str]
    entropy: float
    entropy_peak: float
    whole: bool
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class _State:
    stored_bytes: int = 0
    content_bytes: int = 0
    entropy: EntropyMeter = field(default_factory=EntropyMeter)
    compression: str = "none"
    peek: bytes = b""


def read_whole(
    path: Path,
    *,
    shown: str,
    limits: Limits,
    choose: Callable[[bytes], Consumer | None],
    algorithms: tuple[str, ...] = (),
    opening: Opening | None = None,
) -> PassFacts:
    """Read a regular file once, in constant memory.

    shown: its name in problems. choose: called with the first PEEK_BYTES of the content (or all of it),
    gives the consumer. algorithms: hashes besides SHA-256. opening: how it is opened where it is encrypted. The stored
    bytes are hashed, and the plaintext is authenticated, to the end whatever the content is.

    Raises OSError when the file can't be read.
    """
    state = _State()
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", *algorithms}}
    problems: list[Problem] = []
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb", 0) as file:

        def stored() -> Iterator[bytes]:
            while block := file.read(CHUNK_BYTES):
                for digest in hashes.values():
                    digest.update(block)
                state.stored_bytes += len(block)
                yield block

        source = stored()
        first = next(source, b"")
        blocks = chain((first,), source)
        sealed = opening is not None and is_sealed(first)
        plain: Iterator[bytes] = opening.plain(blocks) if opening is not None and sealed else blocks
        # The second round: whatever its content is worth, was the plaintext authenticated to its end?
        for consume in (partial(_consume, state, limits, choose), _drain):
            try:
                consume(plain)
            except StreamFault as fault:
                problems.append(Problem(fault.code, f"{shown}: {fault.detail}"))
        for _ in source:
            pass  # only the hash is wanted of what follows after a fault
    return PassFacts(
        stored_bytes=state.stored_bytes,
        content_bytes=state.content_bytes,
        compression=state.compression,
        encryption="age" if sealed else detect_encryption(state.peek[:64]),
        sha256=hashes["sha256"].hexdigest(),
        other={name: digest.hexdigest() for name, digest in hashes.items()},
        entropy=round(state.entropy.bits, 3),
        entropy_peak=round(state.entropy.peak, 3),
        whole=not problems,
        problems=tuple(problems),
    )


def _consume(
    state: _State, limits: Limits, choose: Callable[[bytes], Consumer | None], plain: Iterator[bytes]
) -> None:
    """Decompress what the file holds and hand it to the consumer that its beginning asks for."""
    head = next(plain, b"")
    state.compression = detect_compression(head)
    content = decompress(chain((head,), plain), state.compression) if head else iter(())
    for piece in content:
        state.peek += piece
        if len(state.peek) >= PEEK_BYTES:
            break
    consumer = choose(state.peek)
    for piece in chain((state.peek,), content):
        state.content_bytes += len(piece)
        state.entropy.feed(piece)
        _check_limits(state, limits)
        if consumer is not None:
            consumer.feed(piece)


def _drain(plain: Iterator[bytes]) -> None:
    deque(plain, maxlen=0)


def _check_limits(state: _State, limits: Limits) -> None:
    size = state.content_bytes
    if size > limits.bytes:
        raise StreamFault("limit-reached", f"more than {limits.bytes} bytes decompressed; not read further")
    if size > RATIO_FREE_BYTES and size > limits.ratio * state.stored_bytes:
        raise StreamFault(
            "archive-bomb",
            f"{state.stored_bytes} bytes expand to more than {size}; allowed are {limits.ratio:g} times",
        )
