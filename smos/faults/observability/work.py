"""What a fault of the observability suite is injected into: the lab that a check sees, and a private stack.

A fault puts something between the servers (`front`, `between`), makes a stack of another recipe (`recipe`), or changes
what the check works with (`options`). Whatever is changed on the shared stack is undone at the end of the case.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from smos.checks.observability.exercise import exercise
from smos.faults.observability.narrowed import NARROWINGS, Narrowing
from smos.observability.clickhouse import ClickHouse
from smos.observability.verify.lab import Changes, ObservabilityLab
from smos.observability.verify.stand import Stand
from smos.provision.telemetry import CollectorEndpoint
from smos.verdict import Judgement


@dataclass(slots=True)
class ObservabilityWork:
    """One case. lab: what the check is run on; faults may replace it. undo: runs when the case has ended."""

    stand: Stand
    lab: ObservabilityLab
    undo: ExitStack = field(default_factory=ExitStack)

    def front(self, make: Callable[[CollectorEndpoint], AbstractContextManager[CollectorEndpoint]]) -> None:
        """Put something between senders and the shared collector."""
        subject = self.lab.subject
        changed = subject.but(collector=self.undo.enter_context(make(subject.collector)))
        self.lab = self.lab.but(find=lambda: changed)

    def private(self, **recipe: Any) -> None:
        """Let the lab's private stacks be made by a changed recipe (see Recipe)."""
        self.lab = self.lab.but(recipe=replace(self.lab.recipe, **recipe))

    def recipe(self, **changes: Any) -> Stand:
        """Let the check look at a stack of its own, made by a changed recipe; private stacks likewise."""
        self.private(**changes)
        stand = Stand(self.stand.owner, name="broken", recipe=self.lab.recipe, beside=self.stand)
        self.undo.callback(stand.close)
        self.lab = self.lab.but(stand=stand, find=lambda: stand.subject)
        return stand

    def execute(self, sql: str, undo: str = "") -> None:
        """Change something in the shared ClickHouse. undo: the statement that mends it afterwards."""
        with ClickHouse(self.stand.subject.clickhouse) as client:
            client.execute(sql)
        if undo:
            self.undo.callback(self.execute, undo)

    def run(self, check_id: str) -> Judgement:
        """Run the real check. Raises ValueError where no pristine stack is looked at in the same narrowed way."""
        changes: Changes | None = self.lab.options
        if changes is not None and changes.narrowed and Narrowing.of(check_id, changes) not in NARROWINGS:
            raise ValueError(
                f"{check_id}, narrowed to {', '.join(changes.narrowed)}, is not in NARROWINGS"
                " (smos/faults/observability/narrowed.py)"
            )
        return exercise(check_id, self.lab)


@contextmanager
def working(stand: Stand, lab: ObservabilityLab) -> Iterator[ObservabilityWork]:
    """Yield a case; what it changed is undone at the end."""
    work = ObservabilityWork(stand, lab)
    with work.undo:
        yield work
