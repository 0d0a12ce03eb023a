"""The container checks: what each of them claims. Their rules are in `rules.py`; `exercise.py` runs one."""

from smos.target import Provision, Settings, Target
from smos.verdict import Check

CHECKS = (
    Check(
        "CONTAINER-01",
        "Processes in containers run as an unprivileged user, without capabilities or a way to any",
    ),
    Check(
        "CONTAINER-02",
        "A container can change neither its programs nor its root file system, nor run what it put into scratch space",
    ),
    Check(
        "CONTAINER-03", "Containers listen where they are declared to, and are published on loopback alone"
    ),
    Check(
        "CONTAINER-04",
        "A container sees nothing of its machine but its own directories, has limits, and no secret in its environment",
    ),
    Check(
        "CONTAINER-05",
        "A service that is frozen, dead or cut off is never called healthy, and a mended one is",
    ),
    Check("CONTAINER-06", "No container of one stack reaches a server of another by any of its addresses"),
    Check(
        "CONTAINER-07",
        "With its audit disk full Vault serves nothing that is not logged, and goes on with room",
    ),
    Check(
        "CONTAINER-08",
        "With its disk full PostgreSQL refuses writes, keeps what was committed, and goes on with room",
    ),
)
NO_CONTAINERS = "this run's servers are no containers (--provision docker)"


def not_required(target: Target, settings: Settings | None = None) -> tuple[tuple[str, str], ...]:  # noqa: ARG001  (the suites' common form)
    """Return (check ID, why) for every check of this suite that this run does not ask for."""
    if settings is not None and settings.provision is Provision.DOCKER:
        return ()
    return tuple((item.id, NO_CONTAINERS) for item in CHECKS)
