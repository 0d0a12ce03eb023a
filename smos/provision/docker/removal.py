"""Removes what an owner has on the engine: containers with their anonymous volumes, then networks, then volumes.

Standard library only, over the engine's Unix socket: it serves the watchdog, which must start within milliseconds and
work whatever has become of the packages of its runner. Everything is found by the owner's label and looked at again
(`read_identity`, and its name) before it is removed.
"""

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from smos.errors import DeadlineError, ProvisionError
from smos.provision.docker.labels import OWNER, Identity, read_identity
from smos.wait import wait_for

REQUEST_S = 60.0
"""Seconds that one request to the engine may take; a busy machine takes several to remove a container."""
REMOVE_S = 120.0
"""Seconds after which what can't be removed is given up and left to the next run."""
REAP_S = 60.0
"""Seconds that a start gives the leftovers of one dead owner. What somebody else still uses stays, and stops no run."""
AT_ONCE = 8
GONE = frozenset({200, 204, 304, 404})
BUSY = frozenset({409, 500, 503})
"""In use still, or being removed by somebody else: looked at again."""
LISTS = {"containers": "containers/json", "networks": "networks", "volumes": "volumes"}
KINDS = tuple(LISTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object on the engine. kind: of KINDS. paused: containers only; a paused one takes no signal."""

    kind: str
    id: str
    identity: Identity
    paused: bool = False


class EngineSocket:
    """The engine's API over its Unix socket; one connection for each request."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        """Make a request; return its status and decoded answer. Raises OSError, http.client.HTTPException."""
        connection = _Connection(self._path)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body.strip() else None
        finally:
            connection.close()

    def things(self, owner: str | None = None) -> list[Thing]:
        """Return what is on the engine of this owner (None: of any of our owners), containers first.

        Raises ProvisionError when the engine does not answer.
        """
        label = OWNER if owner is None else f"{OWNER}={owner}"
        chosen = quote(json.dumps({"label": [label]}))
        found: list[Thing] = []
        for kind in KINDS:
            every = "all=1&" if kind == "containers" else ""
            try:
                status, answer = self.ask("GET", f"/{LISTS[kind]}?{every}filters={chosen}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise ProvisionError(
                    f"The container engine at {self._path} does not answer: {error}"
                ) from error
            if status != 200:
                raise ProvisionError(f"The container engine refused to list its {kind} (status {status})")
            items = answer.get("Volumes") if kind == "volumes" else answer
            found += _things(kind, items or [], owner)
        return found

    def remove(self, thing: Thing) -> bool:
        """Remove one object; whether it is gone. What is still in use is False. Raises OSError."""
        place = f"/{thing.kind}/{quote(thing.id, safe='')}"
        if thing.kind == "containers":
            if thing.paused:
                self.ask("POST", f"{place}/unpause")
            place += "?force=1&v=1"
        with contextlib.suppress(http.client.HTTPException, ValueError):
            return self.ask("DELETE", place)[0] in GONE
        return False


def remove_owned(engine: EngineSocket, owner: str, *, limit_s: float = REMOVE_S) -> int:
    """Remove everything of one owner, and look again until nothing is left; return how much there was.

    An engine that does not answer, because it is slow or being restarted, is asked again. Raises ProvisionError when
    something remains after `limit_s` seconds.
    """
    seen: set[tuple[str, str]] = set()

    def nothing_left() -> bool:
        left = engine.things(owner)
        seen.update((thing.kind, thing.id) for thing in left)
        for kind in KINDS:  # a network or a volume can't go before the containers that use it
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(engine.remove, [thing for thing in left if thing.kind == kind]))
        return not left

    try:
        wait_for(
            nothing_left,
            what=f"the containers, networks and volumes of {owner} are gone",
            deadline_s=limit_s,
            transient=(OSError, ProvisionError),
        )
    except DeadlineError as error:
        raise ProvisionError(
            error.message,
            remedy=f"remove them by hand: docker rm -fv $(docker ps -aqf label={OWNER}={owner}); a container of"
            " yours in a network of the run's keeps the network: docker network disconnect",
        ) from error
    return len(seen)


def reap_dead(
    engine: EngineSocket,
    *,
    limit_s: float = REAP_S,
    complain: Callable[[ProvisionError], object] | None = None,
) -> tuple[str, ...]:
    """Remove what owners left whose processes have ended; return their ids. Nobody else's things are touched.

    What can't be removed within `limit_s` seconds is left and given to `complain`; the next start tries again.
    """
    identities = {thing.identity for thing in engine.things()}
    dead = {item.owner for item in identities if item.is_dead()}
    # An owner one of whose objects speaks of a living process is alive, whatever another one's labels say.
    living = {item.owner for item in identities if not item.is_dead()}
    reaped = []
    for owner in sorted(dead - living):
        try:
            remove_owned(engine, owner, limit_s=limit_s)
        except ProvisionError as error:
            if complain is not None:
                complain(error)
        else:
            reaped.append(owner)
    return tuple(reaped)


def _things(kind: str, items: list[dict[str, Any]], owner: str | None) -> Iterator[Thing]:
    for item in items:
        whose = read_identity(item.get("Labels"))
        if whose is None or owner not in {None, whose.owner} or not _is_named_by(whose.owner, kind, item):
            continue
        yield Thing(
            kind=kind,
            id=str(item["Name"] if kind == "volumes" else item["Id"]),
            identity=whose,
            paused=item.get("State") == "paused",
        )


def _is_named_by(owner: str, kind: str, item: dict[str, Any]) -> bool:
    """Whether it has a name as this owner gives it.

    Labels alone are no proof: an image that somebody made of one of our containers hands all of them down to every
    container that is started from it. Compose puts the start of an id before the name of what it replaces.
    """
    names = [str(name) for name in item.get("Names") or ()] if kind == "containers" else [str(item["Name"])]
    return any(re.match(rf"/?(?:[0-9a-f]{{12}}_)?smos-{re.escape(owner)}-", name) for name in names)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=REQUEST_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the Unix socket instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(REQUEST_S)
            self.sock.connect(str(self._path))
        except BaseException:
            self.sock.close()
            raise
