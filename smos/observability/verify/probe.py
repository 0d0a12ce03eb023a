"""One observation of the observability suite: what was claimed, whether it held, what was seen.

A fact and no judgement: what it means is in the rules of the check (smos/checks/observability/rules.py). A claim that
was never tried has no probe, which a judge sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smos.errors import SmosError


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One answer. claim: the key of the sub-claim that it belongs to.

    holds: what the driver compared; None: it could not be seen (unreachable, timed out, empty, not asked).
    seen: what was seen, in words and numbers; never a secret, never a row of data.
    """

    claim: str
    holds: bool | None = None
    seen: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFacts:
    """All observations of one check, in order; details: further facts for the report (JSON)."""

    probes: tuple[Probe, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


class ObservabilityError(SmosError):
    """The check could not be made. code: the finding's code, which is NOT_PROVEN."""

    def __init__(self, message: str, *, code: str, remedy: str = "", log: str = "") -> None:
        super().__init__(message, remedy=remedy, log=log)
        self.code = code
