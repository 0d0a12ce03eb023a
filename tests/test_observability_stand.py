"""A stack that can't be cleaned spoils nobody's result, everything of a stack is ended, and what is narrowed proves nothing."""

from types import SimpleNamespace
from typing import Any

import pytest

from smos.checks.observability.exercise import NARROWED, exercise
from smos.errors import ProvisionError
from smos.observability.verify import conformance
from smos.observability.verify.conformance import MAKES, Options
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.probe import Probe, ProbeFacts
from smos.observability.verify.stand import Stand
from smos.provision.telemetry import ClickHouseEndpoint
from smos.verdict import Verdict

NOBODY = ClickHouseEndpoint(url="http://127.0.0.1:1", user="otel", password="-", database="otel_1")


class Server:
    """Notes what is done to it. broken: it neither starts again nor ends as it should."""

    endpoint = NOBODY

    def __init__(self, *, broken: bool = False) -> None:
        self.broken, self.killed = broken, 0

    def start(self) -> None:
        """Do nothing where it works."""
        if self.broken:
            raise ProvisionError("it does not start again")

    def kill(self) -> None:
        """Note it."""
        self.killed += 1
        if self.broken:
            raise ProvisionError("it does not end")


class Servers:
    """Makes such servers. made: all of them, in order."""

    def __init__(self) -> None:
        self.made: list[Server] = []

    def clickhouse(self, _owner: Any, **_options: Any) -> Server:
        """Make one."""
        self.made.append(Server())
        return self.made[-1]


@pytest.fixture
def stand() -> Stand:
    recipe: Any = SimpleNamespace(servers=Servers())
    owner: Any = None
    return Stand(owner, recipe=recipe)


def test_a_breakable_clickhouse_that_cannot_be_cleaned_is_ended_and_the_next_one_is_fresh(
    stand: Stand,
) -> None:
    breakable = stand.breakable()
    first: Any = breakable.clickhouse
    beside = Stand(breakable.owner, beside=breakable)
    assert beside.store.database != NOBODY.database  # it is to be dropped, and nobody answers there
    beside.close()
    assert first.killed == 1
    assert stand.breakable() is not breakable
    assert stand.breakable().clickhouse is not first


def test_a_stack_that_others_use_is_not_ended_because_it_cannot_be_cleaned(stand: Stand) -> None:
    server: Any = stand.clickhouse
    stand.clean(NOBODY)
    assert server.killed == 0


def test_what_cannot_be_ended_leaves_nothing_else_running(stand: Stand) -> None:
    own: Any = stand.clickhouse
    others: list[Any] = [stand.breakable(name).clickhouse for name in ("one", "two")]
    others[1].broken = True
    with pytest.raises(ProvisionError, match="does not end"):
        stand.close()
    assert [item.killed for item in (own, *others)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("options", "narrowed"),
    [
        (None, False),
        (Options(), False),
        (Options(only=("traces",)), True),
        (Options(makes={"rotel": MAKES["rotel"]}), True),
        (Options(makes={}), True),
    ],
    ids=["whole", "every-make", "one-capability", "one-make", "no-make"],
)
def test_a_narrowed_check_never_passes(
    monkeypatch: pytest.MonkeyPatch, options: Options | None, narrowed: bool
) -> None:
    probes = tuple(Probe(claim=claim, holds=True) for claim in ("declared", "shipped"))
    monkeypatch.setattr(conformance, "observe", lambda _: ProbeFacts(probes=probes))
    nothing: Any = None
    judgement = exercise("OBS-12", ObservabilityLab(find=nothing, owner=nothing, options=options))
    assert [item.code for item in judgement.findings] == ([NARROWED] if narrowed else [])
    assert judgement.verdict is (Verdict.NOT_PROVEN if narrowed else Verdict.PASS)
