"""A shipped stack on the engine, under names and ports of its own: up, down, asked, and gone with its owner."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smos.compose.private import private_copy
from smos.compose.render import command, rendered, run
from smos.paths import compose_dir
from smos.provision.images.recipes import images_dir, read_recipes
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim

UP_S = 300
"""Against hangs: the largest stack takes 15 s on an idle machine."""
STACK = "cl.smarterbot.test-stack"


def images_or_skip() -> Path:
    """Return the file that names the local images; skip where there is no engine, or no image on it."""
    pytest.importorskip("docker", reason="the extra `docker` is not installed: make test-docker")
    from smos.provision.docker.engine import engine, why_not

    if reason := why_not():
        pytest.skip(f"not proven here: {reason}")
    built = images_dir() / "built.env"
    names = dict(line.split("=", 1) for line in _lines(built)) if built.is_file() else {}
    needed = {recipe.variable for recipe in read_recipes() if recipe.variable is not None}
    tags = {
        tag for image in engine().images.list(filters={"label": "cl.smarterbot.image"}) for tag in image.tags
    }
    if not needed <= set(names) or not set(names.values()) <= tags:
        pytest.skip("not proven here: the stacks' images are not built (make test-docker)")
    return built


class Stack:
    """One stack. `settings`: the user's .env, by name (in single quotes: a $ in them is none of Compose's); `without`: services that have no image here."""

    def __init__(
        self, owner: Owner, name: str, built: Path, settings: dict[str, str], without: tuple[str, ...]
    ) -> None:
        from smos.provision.docker.containers import containers_of
        from smos.provision.docker.engine import engine_socket

        folder = owner.directory(f"stack-{name}")
        env = folder / "settings.env"
        env.write_text("".join(f"{key}='{value}'\n" for key, value in settings.items()))
        env.chmod(0o600)
        self.claims: dict[tuple[str, int], PortClaim] = {}
        self.project = f"smos-{owner.id}-{name}"
        self._labels = containers_of(owner).identity.labels("stack")
        self._host = f"unix://{engine_socket()}"
        stack = private_copy(
            rendered(compose_dir() / f"{name}.yml", environment_files=(env, built)),
            project=self.project,
            labels={**self._labels, STACK: self.project},
            port_for=self._claim,
            without=without,
        )
        self.file = folder / "compose.json"
        self.file.write_text(json.dumps(stack))
        self.file.chmod(0o600)

    def _claim(self, service: str, port: int) -> int:
        return self.claims.setdefault((service, port), PortClaim()).port

    def address(self, service: str, port: int) -> str:
        return self.claims[service, port].address

    def compose(self, *words: str) -> str:
        done = run(command(self.file, *words, project=self.project), timeout_s=UP_S, host=self._host)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    def up(self) -> None:
        self.compose("up", "--detach", "--pull", "never")

    def exec(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        words = command(self.file, "exec", "--no-TTY", service, *words, project=self.project)
        return run(words, timeout_s=UP_S, host=self._host)

    def state(self, service: str) -> dict[str, object]:
        from smos.provision.docker.engine import engine

        state: dict[str, object] = engine().containers.get(f"{self.project}-{service}").attrs["State"]
        return state

    def weaknesses(self) -> set[tuple[str, str]]:
        """Return (service, code) of all that CONTAINER-01 to 03 find in the services that stay up."""
        from smos.checks.containers.rules import judge
        from smos.containers.inside import of_running
        from smos.provision.docker.engine import engine

        started = engine().containers.list(filters={"label": f"{STACK}={self.project}"}, ignore_removed=True)
        # One that runs once may end at any moment, while it is looked at as well.
        running = [
            one for one in started if one.attrs["HostConfig"]["RestartPolicy"]["Name"] not in {"", "no"}
        ]
        assert running
        ports: dict[str, frozenset[int]] = {}
        for one in running:
            inside = one.attrs["Config"].get("ExposedPorts") or {}
            ports[str(one.name)] = frozenset(int(port.partition("/")[0]) for port in inside)
        found: set[tuple[str, str]] = set()
        for check_id, seen in of_running(running, ports=ports).items():
            for finding in judge(check_id, seen, without=("no-network", "data-private")).findings:
                service = finding.message.rpartition(f"({self.project}-")[2].partition(":")[0]
                found.add((service, finding.code))
        return found

    def left(self) -> list[str]:
        """Return the names of its containers, networks and volumes on the engine."""
        from smos.provision.docker.engine import engine

        only = {"filters": {"label": f"{STACK}={self.project}"}}
        client = engine()
        return [
            *(item.name for item in client.containers.list(all=True, **only)),
            *(item.name for item in client.networks.list(**only)),
            *(item.name for item in client.volumes.list(**only)),
        ]

    def release(self) -> None:
        for claim in self.claims.values():
            claim.release()


@contextmanager
def stack_of(name: str, settings: dict[str, str], *, without: tuple[str, ...] = ()) -> Iterator[Stack]:
    """Give a stack that was not started yet; what it left is removed."""
    built = images_or_skip()
    with Owner(f"test stack {name}") as owner:
        stack = Stack(owner, name, built, settings, without)
        try:
            yield stack
        finally:
            stack.compose("down", "--volumes", "--timeout", "5")
            stack.release()


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
