"""How a driver keeps its observations: in order, and with the reason for what it could not ask."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from smos.errors import SmosError
from smos.vault.model import CLIENT_ERRORS, explain
from smos.vault.verify.probe import NOT_ASKED, Probe, ProbeFacts, probe


@dataclass(slots=True)
class Notes:
    """The observations of one check."""

    probes: list[Probe] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def ask(
        self,
        claim: str,
        request: Callable[[], Any],
        holds: Callable[[Any], bool] | None = None,
        *,
        what: str = "",
    ) -> bool:
        """Make a request, record it; tell whether it succeeded and held. what: which of several, in words."""
        seen = probe(claim, request, holds, what)
        self.probes.append(seen)
        return seen.status == 200 and seen.holds is not False

    def compare(self, claim: str, holds: bool, seen: str = "") -> None:  # noqa: FBT001  (the observation itself)
        """Record what was compared in an answer that is there already."""
        self.probes.append(Probe(claim=claim, status=200, holds=holds, seen=seen))

    @contextmanager
    def part(self, claims: Sequence[str]) -> Iterator[None]:
        """Record, for each of these claims that the block leaves without a probe, why it stopped."""
        why = ""
        try:
            yield
        except SmosError as error:
            why = f"{NOT_ASKED}: {error.message}"
        except CLIENT_ERRORS as error:
            why = f"{NOT_ASKED}: what it builds on was refused ({explain(error)})"
        known = {item.claim for item in self.probes}
        self.probes += [Probe(claim=claim, seen=why) for claim in claims if why and claim not in known]

    def facts(self) -> ProbeFacts:
        """Return all of it."""
        return ProbeFacts(probes=tuple(self.probes), details=self.details)
