"""Run one check of the observability suite: observe, then judge. The suite and its negative controls both come here."""

from importlib import import_module
from typing import TYPE_CHECKING

import httpx

from smos.errors import AbsentError, SmosError
from smos.observability.verify.probe import ObservabilityError
from smos.verdict import Finding, Judgement, not_proven

if TYPE_CHECKING:  # it needs the extra `observability`, whose absence is a finding
    from smos.observability.verify.lab import Changes, ObservabilityLab

AREAS = {
    "OBS-01": "delivery",
    "OBS-02": "context",
    "OBS-03": "outage",
    "OBS-04": "memory",
    "OBS-05": "retention",
    "OBS-06": "configuration",
    "OBS-07": "panels",
    "OBS-08": "alerts",
    "OBS-09": "errors",
    "OBS-10": "metrics",
    "OBS-11": "selfwatch",
    "OBS-12": "conformance",
}
"""Check to its area: `observe(lab)` in smos/observability/verify, `judge(facts)` in smos/checks/observability."""
STOPPED = "observability-stopped"
NOT_INSTALLED = "observability-not-installed"
NARROWED = "observability-narrowed"


def exercise(check_id: str, lab: "ObservabilityLab") -> Judgement:
    """Run one check on what `lab` hands out. What stops the driver leaves the check unproven.

    Raises AbsentError where the provisioner that was asked for is not here.
    """
    area = AREAS[check_id]
    judge = import_module(f"smos.checks.observability.{area}").judge
    try:
        facts = import_module(f"smos.observability.verify.{area}").observe(lab)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "smos":
            raise
        return _stopped(NOT_INSTALLED, f"the package {error.name} is missing", "make observability-deps")
    except ObservabilityError as error:
        return _stopped(error.code, error.message, error.remedy)
    except AbsentError:
        raise  # no engine, no image: that is told in one way for every suite (provisioner-absent)
    except SmosError as error:
        return _stopped(STOPPED, error.message, error.remedy)
    except httpx.HTTPError as error:
        return _stopped(STOPPED, f"{type(error).__name__}: {error}", "")
    judgement: Judgement = judge(facts)
    left = _narrowed(lab)
    return Judgement((*judgement.findings, *left), judgement.facts) if left else judgement


def _narrowed(lab: "ObservabilityLab") -> tuple[Finding, ...]:
    """Say what alone was looked at. A judge need not miss the rest; FAIL outranks this, so faults stay detected."""
    changes: Changes | None = lab.options
    if changes is None or not changes.narrowed:
        return ()
    return (
        not_proven(
            NARROWED,
            f"The check was narrowed to {', '.join(changes.narrowed)}: the rest was not looked at",
            "run the whole check; only negative controls narrow one",
        ),
    )


def _stopped(code: str, message: str, remedy: str) -> Judgement:
    remedy = remedy or "look at the logs of collector and ClickHouse; then run the check again"
    return Judgement((not_proven(code, f"The check could not be made: {message}", remedy),))
