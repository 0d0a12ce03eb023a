"""One observation of the container suite: a fact and no judgement; which are needed is the check's affair."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen of one claim. subject: the container, in a word.

    holds: None: it could not be looked at. seen: in words; never a secret.
    """

    claim: str
    subject: str
    holds: bool | None
    seen: str = ""


def seen_in(subject: str) -> Callable[[str, bool | None, str], Observation]:
    """Return what notes an observation of this container: claim, whether it holds, what was seen."""
    return lambda claim, holds, seen: Observation(claim=claim, subject=subject, holds=holds, seen=seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """All observations of one check, in order; details: further facts for the report (JSON)."""

    observed: tuple[Observation, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
