"""Builds images on an engine: each once for the same inputs, named by their digest, labelled with what they hold.

The classic builder is used, without a network: BuildKit may be absent, and nothing is fetched inside.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smos.errors import ProvisionError
from smos.provision.images.context import gather
from smos.provision.images.recipes import REPOSITORY, Recipe
from smos.provision.images.rootfs import make_root

if TYPE_CHECKING:
    from docker import APIClient

ENGINE_S = 900
"""Seconds without a word from the engine after which a build has failed."""
LABEL = "cl.smarterbot.image"
"""The recipe's name: every image of ours has it."""
INPUTS_LABEL = "cl.smarterbot.image.inputs"
STAND_IN_LABEL = "cl.smarterbot.image.stands-for"
PACKAGES_LABEL = "cl.smarterbot.image.debian-packages"
WHEELS_LABEL = "cl.smarterbot.image.wheels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One image on the engine.

    tag: `smos/<name>:<16 digits of inputs>`. inputs: SHA-256 of all that it is made of. image_id: the engine's
    own digest of it. seconds: what it took; 0 where it was there.
    """

    recipe: Recipe
    tag: str
    inputs: str
    image_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the images: those that are there, and by name why others are not."""

    built: tuple[Built, ...]
    missing: Mapping[str, ProvisionError]


def build_images(
    recipes: tuple[Recipe, ...], *, mirror: str | None = None, say: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Build these images, each after its base; what is there already is left alone, what can't be had is said.

    Raises ProvisionError when there is no engine.
    """
    done: dict[str, Built] = {}
    missing: dict[str, ProvisionError] = {}
    with engine() as api:
        _make_roots(recipes, mirror)
        for recipe in recipes:
            try:
                built = done[recipe.name] = _one(api, recipe, done, mirror)
            except ProvisionError as error:
                missing[recipe.name] = error
                say(f"{recipe.name}: MISSING. {error}")
            else:
                say(
                    f"{recipe.name}: {built.tag} "
                    + (f"({built.seconds:.1f} s)" if built.seconds else "(was there)")
                )
    return Outcome(tuple(done.values()), missing)


def _make_roots(recipes: tuple[Recipe, ...], mirror: str | None) -> None:
    """Make the root file systems two at a time: they mostly wait for downloads and unpack on one processor each."""
    roots = [recipe for recipe in recipes if recipe.root is not None]
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(make_root, one.suite, one.root or (), mirror=mirror) for one in roots]:
            future.exception()  # asked for again, and told, where the image is built


def _one(api: "APIClient", recipe: Recipe, done: dict[str, Built], mirror: str | None) -> Built:
    started = time.monotonic()
    if recipe.root is not None:
        tag, inputs, fresh = _import_root(api, recipe, mirror)
    else:
        tag, inputs, fresh = _build(api, recipe, done)
    image_id = _find(api, tag)
    if image_id is None:
        raise ProvisionError(f"The engine built {tag} and does not know it", remedy="try again")
    seconds = time.monotonic() - started if fresh else 0.0
    return Built(recipe=recipe, tag=tag, inputs=inputs, image_id=image_id, seconds=seconds)


@contextmanager
def engine() -> Iterator["APIClient"]:
    """Give the engine's API. Raises ProvisionError when no engine answers."""
    try:
        import docker
    except ImportError as error:
        raise ProvisionError(
            "Docker's SDK is not installed", remedy="pip install 'smarteros-verify[docker]'"
        ) from error
    try:
        client = docker.from_env(timeout=ENGINE_S)
    except docker.errors.DockerException as error:
        raise ProvisionError(
            f"No Docker engine answers: {error}", remedy="start one (Debian: apt-get install docker.io)"
        ) from error
    try:
        client.ping()
        yield client.api
    except docker.errors.DockerException as error:
        raise ProvisionError(f"The Docker engine refused: {error}", remedy="the reason is above") from error
    finally:
        client.close()


def _find(api: "APIClient", tag: str) -> str | None:
    from docker.errors import ImageNotFound

    try:
        return str(api.inspect_image(tag)["Id"])
    except ImageNotFound:
        return None


def _import_root(api: "APIClient", recipe: Recipe, mirror: str | None) -> tuple[str, str, bool]:
    root = make_root(recipe.suite, recipe.root or (), mirror=mirror)
    labels = {
        **_labels(recipe, root.digest),
        PACKAGES_LABEL: hashlib.sha256("\n".join(root.packages).encode()).hexdigest(),
    }
    inputs = hashlib.sha256(f"{root.digest} {json.dumps(labels, sort_keys=True)}".encode()).hexdigest()
    labels[INPUTS_LABEL] = inputs
    tag = f"{REPOSITORY}/{recipe.name}:{inputs[:16]}"
    if _find(api, tag) is not None:
        return tag, inputs, False
    changes = [f"LABEL {json.dumps(name)}={json.dumps(value)}" for name, value in labels.items()]
    changes.append("ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8")
    changes.append('CMD ["/bin/sh"]')
    name, _colon, version = tag.partition(":")
    answer = api.import_image_from_file(str(root.archive), repository=name, tag=version, changes=changes)
    if "error" in answer:
        raise ProvisionError(
            f"The engine did not take the root file system of {recipe.name}", log=answer[-500:]
        )
    return tag, inputs, True


def _build(api: "APIClient", recipe: Recipe, done: dict[str, Built]) -> tuple[str, str, bool]:
    base = done.get(recipe.base or "")
    if base is None:
        raise ProvisionError(f"It starts from {recipe.base}, which is missing")
    context = gather(recipe)
    inputs = hashlib.sha256(f"{base.inputs} {recipe.variable} {context.digest()}".encode()).hexdigest()
    tag = f"{REPOSITORY}/{recipe.name}:{inputs[:16]}"
    if _find(api, tag) is not None:
        return tag, inputs, False
    labels = _labels(recipe, inputs)
    if context.wheels is not None:
        labels[WHEELS_LABEL] = hashlib.sha256(context.wheels.encode()).hexdigest()
    with tempfile.TemporaryFile(prefix="smos-image-") as archive:
        context.write(archive)
        archive.seek(0)
        lines: list[str] = []
        for event in api.build(
            fileobj=archive,
            custom_context=True,
            tag=tag,
            labels=labels,
            buildargs={"BASE": base.tag},
            network_mode="none",
            rm=True,
            forcerm=True,
            decode=True,
        ):
            lines += [str(event[key]).rstrip() for key in ("stream", "error") if event.get(key)]
            if "error" in event:
                raise ProvisionError(
                    f"The image {recipe.name} could not be built",
                    remedy=f"the step that failed is in compose/images/{recipe.name}/Dockerfile",
                    log="\n".join(lines[-15:]),
                )
    return tag, inputs, True


def _labels(recipe: Recipe, inputs: str) -> dict[str, str]:
    labels = {
        LABEL: recipe.name,
        INPUTS_LABEL: inputs,
        "org.opencontainers.image.title": f"{REPOSITORY}/{recipe.name}",
    }
    if recipe.stand_in is not None:
        labels[STAND_IN_LABEL] = recipe.stand_in
    return labels
