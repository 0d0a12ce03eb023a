"""What a check of the observability suite works with: the stack that is verified, and private ones to break."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from smos.observability.clickhouse import ClickHouse
from smos.observability.verify.probe import ObservabilityError
from smos.observability.verify.stand import SHIPPED, Recipe, Stand
from smos.observability.verify.subject import Subject
from smos.provision.owner import Owner
from smos.target import ObservabilityTarget

if TYPE_CHECKING:
    from smos.observability.emit import Emitter

RUN_PREFIX = "smos-verify-"


class Changes(Protocol):
    """What a fault changes beside the stack."""

    @property
    def narrowed(self) -> tuple[str, ...]:
        """What alone is looked at, in words; empty: all that the check is about. What was narrowed never passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservabilityLab:
    """find: gives the stack that is verified (it starts on first use; a live one is only named).

    stand: its servers where they are ours, None where it is live. owner: gives the owner of private servers.
    target: what was declared. recipe: how private stacks are made (faults put another one in its place).
    options: what a fault changes beside the stack (Changes); each area has and documents its own.
    """

    find: Callable[[], Subject]
    owner: Callable[[], Owner]
    target: ObservabilityTarget = field(default_factory=ObservabilityTarget)
    stand: Stand | None = None
    recipe: Recipe = SHIPPED
    options: Any = None

    @property
    def subject(self) -> Subject:
        """The stack that is verified, started."""
        return self.find()

    @property
    def live(self) -> bool:
        """Whether it is somebody's own stack: then nothing is broken."""
        return self.stand is None

    def own(self) -> Stand:
        """Return the servers of the stack. Raises ObservabilityError (`observability-live`) where it is live."""
        if self.stand is None:
            raise ObservabilityError(
                "This can only be shown by breaking a stack, and a live one is never broken",
                code="observability-live",
                remedy="run this check with --provision embedded; it then speaks about the stack as shipped",
            )
        return self.stand

    def require(self, capability: str) -> None:
        """Raise ObservabilityError where the stack is live, or its collector does not declare this capability."""
        declared = self.own().subject.capabilities
        if declared is not None and not getattr(declared, capability):
            raise ObservabilityError(
                f"This collector does not declare {capability}: only the real one is held to it",
                code="observability-not-declared",
                remedy="make otelcol (needs Go and a module proxy), then run this check again",
            )

    def run_id(self) -> str:
        """Return a new id that scopes every query: nobody else's rows carry it."""
        return f"{RUN_PREFIX}{secrets.token_hex(8)}"

    def emitter(self, run: str, protocol: str = "grpc", service: str = "smos-verify") -> "Emitter":
        """Return a sender (a context manager) to the stack that is verified."""
        from smos.observability.emit import Emitter

        return Emitter(self.subject.collector, run=run, protocol=protocol, service=service)

    def clickhouse(self) -> AbstractContextManager[ClickHouse]:
        """Return a client of the stack's ClickHouse (a context manager)."""
        return ClickHouse(self.subject.clickhouse)

    @contextmanager
    def private_stand(
        self, name: str = "private", *, beside: Stand | None = None, **changes: Any
    ) -> Iterator[Stand]:
        """Give a stack that the block may kill; it is ended after it. changes: to the lab's recipe.

        beside: a stack whose ClickHouse serves this one as well (see Stand). `environment` is added to the recipe's.
        Nothing is started before it is asked for.
        Raises ObservabilityError (`observability-live`).
        """
        self.own()
        if "environment" in changes:
            changes["environment"] = {**changes["environment"], **self.recipe.environment}
        stand = Stand(self.owner(), name=name, recipe=replace(self.recipe, **changes), beside=beside)
        try:
            yield stand
        finally:
            stand.close()

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)
