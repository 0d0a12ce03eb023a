"""The container engine that the configuration names, through its SDK."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smos.errors import ProvisionError, UnreachableError

if TYPE_CHECKING:
    from docker import DockerClient

ANSWER_S = 30
"""Seconds that one request may take."""
DEFAULT_HOST = "unix:///var/run/docker.sock"


@contextmanager
def engine(host: str | None) -> Iterator["DockerClient"]:
    """Yield a client of the engine. host: as in DOCKER_HOST; None: this machine's.

    Raises UnreachableError where none answers, also in the middle; ProvisionError without the SDK.
    """
    try:
        import docker
        import requests
    except ImportError as error:
        raise ProvisionError(
            "The container engine's SDK is not installed",
            remedy="install the extra `docker`: uv sync --extra docker",
        ) from error
    where = host or DEFAULT_HOST
    if where.startswith("unix://") and not Path(where.removeprefix("unix://")).exists():
        # The SDK would leave an open socket behind.
        raise _silent(where, FileNotFoundError())
    try:
        client = docker.DockerClient(
            base_url=where, timeout=ANSWER_S, use_ssh_client=where.startswith("ssh://")
        )
    except (docker.errors.DockerException, OSError) as error:
        raise _silent(where, error) from error
    try:
        client.ping()
        yield client
    except docker.errors.APIError as error:
        raise UnreachableError(
            f"The container engine at {where} refused: {error.explanation or error}", remedy="look at its log"
        ) from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise _silent(where, error) from error
    finally:
        client.close()


def _silent(where: str, error: Exception) -> UnreachableError:
    return UnreachableError(
        f"No container engine answers at {where} ({type(error).__name__})",
        remedy="start it, let this user into the group docker, or: smos config set docker.host unix:///…",
    )
