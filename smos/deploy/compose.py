"""Drives `docker compose` (the plugin, or the stand-alone binary) on this machine's engine, a context, or over SSH."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from smos.errors import ProvisionError, SmosError, TargetError, UnreachableError

ASK_S = 120
WORK_S = 3600
"""Seconds that pulling, building and starting may take."""
TAIL = 2000
SILENT = (
    "cannot connect",
    "is the docker daemon running",
    "error during connect",
    "connection refused",
    "dial unix",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """One container of a service, as Compose tells it. image_id: what it runs. status, health: the engine's words."""

    service: str
    name: str
    status: str
    health: str
    exit_code: int
    image: str
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    """One project. program: see `find_compose`.

    file: the compose file. host: as in DOCKER_HOST; context: a Docker context; at most one of the two.
    """

    file: Path
    project: str | None = None
    host: str | None = None
    context: str | None = None
    program: tuple[str, ...] = ("docker", "compose")

    def config(self) -> dict[str, Any]:
        """Return the project as Compose understands it. Raises TargetError where the file is wrong."""
        try:
            return dict(json.loads(self.run("config", "--format", "json")))
        except (ValueError, TypeError) as error:
            raise TargetError(f"{self.file}: Compose printed no configuration") from error

    def states(self) -> tuple[ServiceState, ...]:
        """Return the project's containers, ended ones as well."""
        found = _documents(self.run("ps", "--all", "--no-trunc", "--format", "json"))
        images = self._images([str(item.get("ID")) for item in found])
        return tuple(
            ServiceState(
                service=str(item.get("Service") or ""),
                name=str(item.get("Name") or ""),
                status=str(item.get("State") or "").lower(),
                health=str(item.get("Health") or "").lower(),
                exit_code=int(item.get("ExitCode") or 0),
                image=str(item.get("Image") or ""),
                image_id=images.get(str(item.get("ID")), ""),
            )
            for item in found
        )

    def _images(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the image that each container really runs: Compose tells only its name."""
        if not ids:
            return {}
        from smos.services.engine import engine

        with engine(self.host or context_host(self.context)) as client:
            return {id_: str(client.api.inspect_container(id_)["Image"]) for id_ in ids}

    def run(self, *words: str, override: Path | None = None, limit_s: float = ASK_S) -> str:
        """Run one Compose command and return what it printed. Raises UnreachableError; SmosError with its end."""
        files = ["--file", str(self.file), *(["--file", str(override)] if override else [])]
        project = ["--project-name", self.project] if self.project else []
        command = [*self.program, *files, *project, *words]
        try:
            done = subprocess.run(
                command, env=self._environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", timeout=limit_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise SmosError(
                f"compose {words[0]} took longer than {limit_s:g} s", remedy="look at the engine"
            ) from error
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.strip()
        if any(word in said.lower() for word in SILENT):
            raise UnreachableError(
                f"No container engine answers: {said.splitlines()[-1][:300] if said else ''}",
                remedy="start it, or correct deploy.context, deploy.host or docker.host",
            )
        if words[0] == "config":
            raise TargetError(f"{self.file} is no valid compose file: {said[-300:]}", remedy="correct it")
        raise SmosError(f"compose {words[0]} failed", log=said[-TAIL:])

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ) | {"COMPOSE_ANSI": "never", "COMPOSE_PROGRESS": "plain"}
        if self.host:
            environment.pop("DOCKER_CONTEXT", None)
            environment["DOCKER_HOST"] = self.host
        elif self.context:
            environment.pop("DOCKER_HOST", None)
            environment["DOCKER_CONTEXT"] = self.context
        return environment


@cache
def find_compose() -> tuple[str, ...]:
    """Return how Compose v2 is called here. Raises ProvisionError where it is not installed."""
    docker = shutil.which("docker")
    if docker is not None:
        asked = subprocess.run(
            [docker, "compose", "version"], capture_output=True, timeout=ASK_S, check=False
        )
        if asked.returncode == 0:
            return (docker, "compose")
    near = Path(sys.executable).with_name("docker-compose")  # the extra `docker` brings it
    for program in (str(near) if near.is_file() else None, shutil.which("docker-compose")):
        if program is None:
            continue
        asked = subprocess.run(
            [program, "version", "--short"], capture_output=True, timeout=ASK_S, check=False
        )
        if asked.returncode == 0 and not asked.stdout.lstrip(b"v").startswith(b"1."):
            return (program,)
    raise ProvisionError(
        "Docker Compose v2 is not installed",
        remedy="install docker-compose-plugin, or the extra `docker`: uv sync --extra docker",
    )


def context_host(name: str | None) -> str | None:
    """Return the engine of a Docker context, as the Docker CLI keeps it; None for the default one.

    Raises TargetError where there is none of this name.
    """
    if name is None or name == "default":
        return None
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    try:
        return str(json.loads(meta.read_bytes())["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TargetError(
            f"There is no Docker context {name}", remedy="docker context ls shows them"
        ) from error


def _documents(text: str) -> list[Mapping[str, Any]]:
    """Read what `ps --format json` prints: one document a line, or one list (before Compose 2.21)."""
    try:
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise SmosError("compose ps printed no JSON", remedy="update Compose") from error
