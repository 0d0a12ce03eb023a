"""Which controls a check is evidence for: data, kept apart from the checks.

Only what is certain from the published text of each framework is listed: a control is named when the check
shows a part of what the control asks for, never because it sounds related. A self-test satisfies none of
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Framework:
    """One published set of controls. prefix: how its control IDs start in our reports."""

    prefix: str
    title: str
    url: str


FRAMEWORKS: tuple[Framework, ...] = (
    Framework(
        "SOC 2",
        "AICPA Trust Services Criteria (2017)",
        "https://www.aicpa-cima.com/resources/download/2017-trust-services-criteria-with-revised-points-of-focus-2022",
    ),
    Framework("ISO 27001", "ISO/IEC 27001:2022, Annex A", "https://www.iso.org/standard/27001"),
    Framework("NIST", "NIST SP 800-53 Rev. 5", "https://doi.org/10.6028/NIST.SP.800-53r5"),
)

BACKUP = "SOC 2 A1.2"  # data backup processes and recovery infrastructure
PLAN_TEST = "SOC 2 A1.3"  # tests of recovery plan procedures
ISO_BACKUP = "ISO 27001 A.8.13"  # information backup: made and regularly tested
ISO_READINESS = "ISO 27001 A.5.30"  # ICT readiness for business continuity
CP4 = "NIST CP-4"  # contingency plan testing
CP9 = "NIST CP-9"  # system backup
CP9_1 = "NIST CP-9(1)"  # testing for reliability and integrity
CP10 = "NIST CP-10"  # recovery and reconstitution within the objectives

CONTROLS: Mapping[str, tuple[str, ...]] = {
    "DR-01": (BACKUP, ISO_BACKUP, CP9),
    "DR-02": (BACKUP, ISO_BACKUP, CP9_1),
    "DR-03": (PLAN_TEST, ISO_BACKUP, CP4, CP9_1, CP10),
    "DR-04": (PLAN_TEST, ISO_BACKUP, CP4, CP9_1, CP10),
    "DR-05": (PLAN_TEST, ISO_READINESS, CP4, CP10),
    "DR-06": (PLAN_TEST, ISO_BACKUP, CP4, CP9_1, CP10),
    "DR-07": (PLAN_TEST, ISO_READINESS, CP4, CP10),
    "DR-08": (BACKUP, ISO_BACKUP, CP9),
}
"""Check ID to control IDs."""


def framework_of(control: str) -> Framework | None:
    """Return the framework that a control ID of ours belongs to; None for one that is not listed."""
    return next((item for item in FRAMEWORKS if control.startswith(item.prefix + " ")), None)
