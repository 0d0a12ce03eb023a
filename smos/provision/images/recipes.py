"""What images there are and what each is made of, as `compose/images/images.yml` says it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from smos.errors import ProvisionError
from smos.paths import compose_dir

REPOSITORY = "smos"
"""Every image is `smos/<name>:<digest of its inputs>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One image.

    root: packages of its Debian root file system; None when it has a Dockerfile. base: the image that the
    Dockerfile starts from. wheels, programs, files: see compose/images/images.yml. extras: the lock file's extras
    that `wheels` may come from; wheels ["*"] are all of them. variable: the variable of the stacks that takes its
    name. stand_in: the public image that it replaces.
    """

    name: str
    suite: str
    root: tuple[str, ...] | None = None
    base: str | None = None
    wheels: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    requirements: str | None = None
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    variable: str | None = None
    stand_in: str | None = None


def images_dir() -> Path:
    """Return the folder of the Dockerfiles."""
    return compose_dir() / "images"


def checkout() -> Path:
    """Return the checkout. Raises ProvisionError where there is none: images are built from one."""
    root = compose_dir().parent
    if not (root / "uv.lock").is_file():
        raise ProvisionError(
            "Images are built from a checkout: the installed package has no lock file of its own",
            remedy="git clone the project and run `make images` there",
        )
    return root


def read_recipes() -> tuple[Recipe, ...]:
    """Return the recipes, each after the one that it starts from. Raises ProvisionError for one that can't be."""
    given = YAML(typ="safe").load(images_dir() / "images.yml")
    recipes: dict[str, Recipe] = {}
    for name, entry in given["images"].items():
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
        }
        base = fields.pop("from", None)
        try:
            recipe = Recipe(name=name, suite=given["suite"], base=base, **fields)
        except TypeError as error:
            raise ProvisionError(
                f"The image {name} is described wrongly: {error}", remedy="mend compose/images/images.yml"
            ) from error
        if (recipe.root is None) == (base is None) or (base is not None and base not in recipes):
            raise ProvisionError(
                f"The image {name} has neither a root file system nor a base that stands before it",
                remedy="mend compose/images/images.yml",
            )
        recipes[name] = recipe
    return tuple(recipes.values())


def wanted(recipes: tuple[Recipe, ...], names: list[str]) -> tuple[Recipe, ...]:
    """Return the recipes of these names (none: all) and what they start from, in order. Raises ProvisionError."""
    known = {recipe.name: recipe for recipe in recipes}
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ProvisionError(f"There is no image {', '.join(unknown)}", remedy=f"one of: {', '.join(known)}")
    needed: set[str] = set()
    for name in names or known:
        step: str | None = name
        while step is not None:
            needed.add(step)
            step = known[step].base
    return tuple(recipe for recipe in recipes if recipe.name in needed)
