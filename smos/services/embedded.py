"""The harness' own servers that run on this machine right now: each has a run directory with its sockets in it."""

import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smos.verdict import Finding, not_proven, note

ANSWER_S = 3.0
CHARTS = ((".s.PGSQL.", "PostgreSQL"), (".sock", "OpenBao"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedFacts:
    """One server of a run. name: run and server. kind: what it is. answers: it said something of its own protocol."""

    name: str
    kind: str
    socket: str
    answers: bool
    detail: str


def read_embedded(root: Path | None = None) -> tuple[EmbeddedFacts, ...]:
    """Ask every server of this user's runs. root: holds one directory a run; None: the usual places."""
    mine = f"smos-{os.geteuid()}"
    roots = [root] if root is not None else [Path(tempfile.gettempdir()) / mine, Path("/tmp") / mine]  # noqa: S108
    return tuple(_ask(path, kind) for place in dict.fromkeys(roots) for path, kind in _sockets(place))


def _sockets(root: Path) -> Iterator[tuple[Path, str]]:
    runs = (run for run in _listed(root) if run.name.startswith("r"))
    for path in (path for run in runs for folder in _listed(run) for path in _listed(folder)):
        kind = next((name for mark, name in CHARTS if mark in path.name), "")
        if kind and not path.name.endswith(".lock") and not path.is_symlink() and path.is_socket():
            yield path, kind


def _listed(folder: Path) -> list[Path]:
    """Return what lies in a directory, sorted; nothing of what is none, or went meanwhile with its run."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _ask(path: Path, kind: str) -> EmbeddedFacts:
    """Say something that needs no login: an SSL request to PostgreSQL, a health request to OpenBao."""
    request = (
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
        if kind == "PostgreSQL"
        else b"GET /v1/sys/health HTTP/1.0\r\n\r\n"
    )
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ANSWER_S)
            client.connect(str(path))
            client.sendall(request)
            answer = client.recv(64)
    except OSError as error:
        answer, detail = b"", f"it does not answer: {error.strerror or type(error).__name__}"
    else:
        detail = "it answers" if answer else "it hung up"
    good = answer in {b"S", b"N"} if kind == "PostgreSQL" else answer.startswith(b"HTTP/1.")
    if kind == "OpenBao" and good:
        status = answer.split()[1:2]
        good = status == [b"200"]
        detail = (
            "active"
            if good
            else f"not active (HTTP {status[0].decode(errors='replace')})"
            if status
            else "unclear"
        )
    name = f"{path.parent.parent.name}/{path.parent.name}"
    return EmbeddedFacts(name=name, kind=kind, socket=str(path), answers=good, detail=detail)


def judge_embedded(facts: EmbeddedFacts) -> Finding:
    """Return the one finding."""
    if facts.answers:
        return note("embedded-answers", f"{facts.name}: {facts.kind}, {facts.detail}")
    return not_proven(
        "embedded-silent", f"{facts.name}: {facts.kind}, {facts.detail}", "its run may be ending"
    )
