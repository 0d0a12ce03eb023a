"""In which ways faults narrow a check to where they lie. Each way is run on a pristine stack as well: it must be quiet.

A case whose narrowing is not listed here breaks off (`ObservabilityWork.run`), so the list holds all that are in use.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from smos.observability.verify.lab import Changes, ObservabilityLab


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """One way of looking at a part of a check's course. words: as the area's own options name it (`narrowed`)."""

    check: str
    words: tuple[str, ...]

    @classmethod
    def of(cls, check: str, changes: Changes) -> Self:
        """Return how these changes narrow this check."""
        return cls(check=check, words=changes.narrowed)

    @property
    def id(self) -> str:
        """A stable name: OBS-05-rows."""
        return "-".join((self.check, *self.words)).replace(" ", "-")

    def on(self, lab: ObservabilityLab) -> ObservabilityLab:
        """Return a lab that looks at no more than this, and is changed in nothing else."""
        return lab.but(options=_UNCHANGED[self.check](self.words))


def _retention(words: tuple[str, ...]) -> Changes:
    from smos.observability.verify.retention import Options

    (only,) = words
    return Options(only=_any(only))


def _alerts(words: tuple[str, ...]) -> Changes:
    from smos.observability.verify.alerts import Options
    from smos.paths import compose_dir

    (only,) = words
    return Options(folder=compose_dir() / "observability", only=_any(only))


def _metrics(_words: tuple[str, ...]) -> Changes:
    from smos.observability.verify.metrics import Options

    return Options(vault=False)


def _selfwatch(words: tuple[str, ...]) -> Changes:
    from smos.observability.verify.selfwatch import Options

    (only,) = words
    return Options(only=_any(only))


def _conformance(words: tuple[str, ...]) -> Changes:
    from smos.observability.verify.conformance import MAKES, Options

    *only, make = words
    return Options(makes={make: MAKES[make]}, only=tuple(only))


def _any(word: str) -> Any:
    """Give a word as one of those that an option knows; a wrong one would narrow to nothing, which is seen."""
    return word


_UNCHANGED: dict[str, Callable[[tuple[str, ...]], Changes]] = {
    "OBS-05": _retention,
    "OBS-08": _alerts,
    "OBS-10": _metrics,
    "OBS-11": _selfwatch,
    "OBS-12": _conformance,
}
"""Not everybody has what the areas import."""


def _ways(check: str, *ways: tuple[str, ...]) -> tuple[Narrowing, ...]:
    return tuple(Narrowing(check=check, words=words) for words in ways)


NARROWINGS = (
    *_ways("OBS-05", ("definitions",), ("rows",), ("setting",)),
    *_ways("OBS-08", ("rules",), ("grafana",), ("servers",)),
    *_ways("OBS-10", ("all but Vault",)),
    *_ways("OBS-11", ("living",), ("dead",)),
    *_ways(
        "OBS-12",
        ("persistent_queue", "rotel"),
        ("own_metrics", "rotel"),
        ("retries_refused", "rotel"),
        ("schema_created", "rotel"),
        ("shipped_configuration", "rotel"),
    ),
)
