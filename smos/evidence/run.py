"""What every report of one run says about the run itself."""

from dataclasses import dataclass
from datetime import datetime

from smos.target import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """One run. Objectives in seconds; started in UTC.

    provision, sandbox: how the servers came to exist, how strong the isolation was ("none": no drill took
    place). backup_set: the set that was restored, None where there was none. not_required: (check ID, why).
    """

    run_id: str
    scope: str
    target: str
    provision: str
    provision_reason: str
    sandbox: str
    started: datetime
    backup_set: str | None
    rto_objective_s: float
    rpo_objective_s: float
    not_required: tuple[tuple[str, str], ...]

    @property
    def self_test(self) -> bool:
        """Whether this run speaks about the harness only."""
        return self.scope != Scope.PRODUCTION.value

    @property
    def scope_words(self) -> str:
        """The scope as a sentence that nobody can misread."""
        if self.self_test:
            return "self-test: proves the harness, no control is satisfied"
        return f"production: speaks about {self.target}"
