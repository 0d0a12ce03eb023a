"""Which image each server runs from: the pinned public one where the engine has it, else the one that was built here.

Where there is neither, the public one is asked of its registry. What was taken is remembered with the engine's own
digest of it, for the record of the run.
"""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smos.errors import AbsentError, ProvisionError
from smos.paths import compose_dir
from smos.provision.docker.engine import engine, told

LABEL = "cl.smarterbot.image"
"""Every image of `make images` has it: the recipe's name."""
PINS = {
    "openbao": ("vault.yml", "VAULT_IMAGE"),
    "postgres": ("demo.yml", "SMOS_POSTGRES_IMAGE"),
    "otelcol": ("observability.yml", "SMOS_OTELCOL_IMAGE"),
}
"""The stack's file that names the public image, and its variable: what users run is what is verified."""
SERVERS = ("openbao", "postgres")
"""What the suites start."""
TELEMETRY = ("clickhouse", "otelcol", "bugsink", "prometheus", "alertmanager")
"""What the observability suite starts beside them."""
REMEDY = "build it from Debian packages and wheels: make images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image on the engine. id: its digest. built: it was built here, in the place of a public one."""

    kind: str
    name: str
    id: str
    built: bool

    @property
    def words(self) -> str:
        """Name and digest, for people."""
        return f"{self.kind}: {self.name} ({self.id[:19]}{', built here' if self.built else ''})"


_USED: dict[tuple[str, int | None], Image] = {}
_LOCK = threading.Lock()


def image_of(kind: str, *, major: int | None = None) -> str:
    """Return the name of the image for a server of this kind (of a major version, where one was built).

    Raises ProvisionError when the engine has none and can't get one.
    """
    with _LOCK:
        if (kind, major) not in _USED:
            _USED[kind, major] = _find(kind, major)
        return _USED[kind, major].name


def used_images() -> tuple[Image, ...]:
    """Return what this process has taken so far."""
    with _LOCK:
        return tuple(dict.fromkeys(_USED.values()))


def recorded(kinds: Sequence[str] = SERVERS) -> str:
    """Return why this run has containers, and which images they come from, for its record."""
    problems: list[str] = []
    for kind in kinds:
        try:
            image_of(kind)
        except ProvisionError as error:
            problems.append(error.message)
    found = [image.words for image in used_images()]
    return "; ".join(["asked for", *dict.fromkeys(problems), *found])


def pinned(kind: str) -> str | None:
    """Return the public image that the stack names for it; None where no stack has it."""
    file, variable = PINS.get(kind, ("", ""))
    path = compose_dir() / file
    if not file or not path.is_file():
        return None
    found = re.search(rf"\$\{{{variable}:-([^}}\s]+)\}}", path.read_text(encoding="utf-8"))
    return found[1] if found else None


def _find(kind: str, major: int | None) -> Image:
    public = pinned(kind)
    with told(f"look for the image of {kind}"):
        if public is not None and _suits(public, major) and (image := _present(public)) is not None:
            return Image(kind=kind, name=public, id=str(image.id), built=False)
        names = [f"{kind}{major}", kind] if major is not None else [kind]
        for name in names:
            listed = engine().images.list(filters={"label": f"{LABEL}={name}"})
            tagged = [image for image in listed if image.tags]
            if tagged:
                newest = max(tagged, key=lambda item: str(item.attrs["Created"]))
                return Image(kind=kind, name=str(newest.tags[0]), id=str(newest.id), built=True)
    if public is None:
        raise AbsentError(f"The engine has no image for {kind}", remedy=REMEDY)
    try:
        with told(f"get {public}"):
            image = engine().images.pull(public)
    except ProvisionError as error:
        raise AbsentError(
            f"The engine has no image for {kind}, and can't get one: {error.message}", remedy=REMEDY
        ) from error
    return Image(kind=kind, name=public, id=str(image.id), built=False)


def _suits(image: str, major: int | None) -> bool:
    """Whether a public image is of this major version, by its tag."""
    return major is None or image.partition(":")[2].split(".")[0] == str(major)


def _present(name: str) -> Any:
    import docker

    try:
        return engine().images.get(name)
    except docker.errors.ImageNotFound:
        return None
