"""Run one check of the container suite: observe, then judge. The suite and its negative controls both come here."""

from importlib import import_module
from typing import TYPE_CHECKING

from smos.checks.containers.rules import judge
from smos.errors import SmosError
from smos.verdict import Judgement, not_proven

if TYPE_CHECKING:
    from smos.containers.lab import ContainerLab

DRIVERS = {
    "CONTAINER-01": ("inside", "privileges"),
    "CONTAINER-02": ("inside", "files"),
    "CONTAINER-03": ("inside", "network"),
    "CONTAINER-04": ("inside", "surroundings"),
    "CONTAINER-05": ("health", "observe"),
    "CONTAINER-06": ("isolation", "observe"),
    "CONTAINER-07": ("disk", "vault"),
    "CONTAINER-08": ("disk", "postgres"),
}
"""Check to the module of smos/containers and its function."""


def exercise(check_id: str, lab: "ContainerLab") -> Judgement:
    """Run one check on what `lab` hands out. What stops the driver leaves the check unproven."""
    module, function = DRIVERS[check_id]
    try:
        facts = getattr(import_module(f"smos.containers.{module}"), function)(lab)
    except SmosError as error:
        remedy = error.remedy or "look at `docker info` and at the container's log; then run the check again"
        return Judgement(
            (not_proven("container-stopped", f"The check could not be made: {error.message}", remedy),)
        )
    return judge(check_id, facts)
