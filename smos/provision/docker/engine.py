"""The container engine: reached through its own SDK, asked whether it answers, its errors told in our words.

Which engine: DOCKER_HOST, as for every other client of it. Only one on a Unix socket of this machine serves: its
containers see the run's directories, and its watchdog needs no package.
"""

import contextlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smos.errors import AbsentError, ProvisionError

if TYPE_CHECKING:
    from docker import DockerClient

REQUEST_S = 180
"""Seconds that one request may take; creating a container takes 0.1 s, on a busy machine some seconds."""
POOL = 32
"""Connections that may be open at once: every container's follower and every thread has its own."""
DEFAULT_SOCKET = Path("/var/run/docker.sock")
SDK_REMEDY = "install the extra `docker`: uv sync --extra docker"


RIGHTS_REMEDY = (
    "let root run this, or put the user into the group `docker` (which makes it as good as root) and log in again;"
    " --provision embedded needs neither"
)


def not_allowed(socket: Path) -> str:
    """Say that this user may not speak to the engine; empty: it may, or there is none."""
    try:
        if socket.exists() and not os.access(socket, os.R_OK | os.W_OK):
            return f"There is a container engine at {socket}, and this user may not use it"
    except PermissionError:  # not even its directory can be looked into
        return f"This user may not look for a container engine at {socket}"
    return ""


def _sdk() -> Any:
    """Return the engine's SDK, imported where it is first needed. Raises AbsentError."""
    try:
        import docker
    except ImportError as error:
        raise AbsentError("The container engine's SDK is not installed", remedy=SDK_REMEDY) from error
    return docker


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn an error of the engine's into a ProvisionError that says what was tried."""
    docker = _sdk()
    import requests  # the SDK's own dependency

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException) as error:
        said = getattr(error, "explanation", None) or error
        raise ProvisionError(
            f"The container engine could not {what}: {said}",
            remedy="look at `docker info` and the engine's log; `smos doctor` tells what is missing",
        ) from error


def engine_socket() -> Path:
    """Return the Unix socket of the engine. Raises ProvisionError for an engine on another machine."""
    # Not a setting of ours: every client of the engine finds it by this variable.
    url = os.environ.get("DOCKER_HOST") or f"unix://{DEFAULT_SOCKET}"
    if not url.startswith("unix://"):
        raise AbsentError(
            f"The container engine at {url.partition('://')[0]}://… is on another machine",
            remedy="use an engine on this one (unset DOCKER_HOST), or --provision embedded",
        )
    return Path("/" + url.partition("://")[2].lstrip("/"))


@cache
def engine() -> "DockerClient":
    """Return this process' client of the engine. Raises ProvisionError when it doesn't answer."""
    socket = engine_socket()
    docker = _sdk()
    if refused := not_allowed(socket):
        raise AbsentError(refused, remedy=RIGHTS_REMEDY)
    if not socket.exists():
        raise AbsentError(
            f"There is no container engine at {socket}",
            remedy="start one (Debian: apt install docker.io), or use --provision embedded",
        )
    try:
        with told("answer"):
            client = docker.DockerClient(base_url=f"unix://{socket}", timeout=REQUEST_S, max_pool_size=POOL)
            client.ping()
    except ProvisionError as error:
        raise AbsentError(error.message, remedy=error.remedy) from error
    return client


def why_not() -> str:
    """Say why no engine can be used here; empty: one answers."""
    try:
        engine()
    except ProvisionError as error:
        return error.message
    return ""
