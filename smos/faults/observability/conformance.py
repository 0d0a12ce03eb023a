"""F370 and F371: collectors that declare what they can't do."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault

CHECK = "OBS-12"
ARRIVE_S = 2.0
"""How long is waited for what can't come."""


def _rotel(work: ObservabilityWork, only: str, change: Callable[[Any], object], **options: Any) -> None:
    """Try a rotel of which something was changed. only: the capability that this is about."""
    from smos.observability.verify.conformance import Options  # not everybody has what it imports
    from smos.provision.embedded.rotel import EmbeddedRotel

    def make(owner: Any, clickhouse: Any, name: str, *, little_memory: bool = False) -> Any:
        del little_memory
        server = EmbeddedRotel(owner, clickhouse, name=name, **options)
        change(server)
        return server

    work.lab = work.lab.but(options=Options(makes={"rotel": make}, only=(only,), arrive_s=ARRIVE_S))


def _declares(**capabilities: bool) -> Callable[[Any], None]:
    def change(server: Any) -> None:
        server.capabilities = replace(server.capabilities, **capabilities)

    return change


@fault(
    "F370a",
    "A collector without a queue declares one",
    "declaration",
    caught(CHECK, "capability-false", "persistent_queue", "500 traces arrive"),
)
def queue(work: ObservabilityWork) -> None:
    """Declare it."""
    _rotel(work, "persistent_queue", _declares(persistent_queue=True))


@fault(
    "F370b",
    "A collector without metrics declares them",
    "declaration",
    caught(CHECK, "capability-false", "own_metrics"),
)
def metrics(work: ObservabilityWork) -> None:
    """Declare them."""
    _rotel(work, "own_metrics", _declares(own_metrics=True))


@fault(
    "F370c",
    "A collector that does not try again declares it",
    "declaration",
    caught(CHECK, "capability-false", "retries_refused", "2000 logs arrive"),
)
def retries(work: ObservabilityWork) -> None:
    """Declare it."""
    _rotel(work, "retries_refused", _declares(retries_refused=True))


@fault(
    "F370d",
    "Tables are made with another retention",
    "collector",
    caught(CHECK, "capability-false", "schema_created"),
)
def other_schema(work: ObservabilityWork) -> None:
    """Make them so."""
    _rotel(work, "schema_created", lambda _: None, ttl="24h")


@fault(
    "F371",
    "A collector that does not run the shipped configuration declares that it proves it",
    "declaration",
    caught(CHECK, "shipped-not-proven", "rotel"),
)
def shipped(work: ObservabilityWork) -> None:
    """Declare it."""
    _rotel(work, "shipped_configuration", _declares(shipped_configuration=True))
