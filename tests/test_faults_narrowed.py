"""Every way of narrowing a check that is seen to be quiet is one that some fault uses; every one in use is listed."""

import dataclasses
import inspect
from contextlib import suppress
from importlib import import_module
from typing import Any
from unittest.mock import MagicMock

import pytest

from smos.checks.observability.exercise import AREAS
from smos.faults.observability import narrowed as of_observability
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import faults
from smos.faults.vault import narrowed as of_vault
from smos.faults.vault.work import VaultWork
from smos.observability.verify import retention
from smos.observability.verify.lab import ObservabilityLab
from smos.provision.owner import Owner
from smos.vault.verify.lab import VaultLab


class Anything(MagicMock):
    """Stands for a server: it takes whatever is done to it, and is neither a path nor an open file."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        for name in ("__index__", "__int__", "__fspath__"):
            with suppress(AttributeError):
                delattr(self, name)


def test_every_narrowing_of_a_vault_check_is_in_use(owner: Owner) -> None:
    used = set()
    for fault in (item for item in faults() if item.suite == "vault"):
        work = VaultWork(Anything(), VaultLab(subject=Anything(), owner=lambda: owner))
        with suppress(Exception):  # what comes after may need a server; the check is narrowed before
            fault.inject(work)
        used |= {of_vault.Narrowing.of(check, work.lab) for check in fault.checks if work.lab.narrowed}
        work.undo.pop_all()
    assert used == set(of_vault.NARROWINGS)


def test_every_narrowing_of_an_observability_check_is_in_use(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("front", "private", "recipe", "execute"):
        monkeypatch.setattr(ObservabilityWork, name, Anything())
    used = set()
    for fault in (item for item in faults() if item.suite == "observability"):
        stand = Anything()
        stand.subject.collector.metrics = "http://127.0.0.1:9/metrics"
        work = ObservabilityWork(
            stand, ObservabilityLab(find=lambda at=stand: at.subject, owner=lambda: owner, stand=stand)
        )
        with work.undo, suppress(Exception):
            fault.inject(work)
        changes = work.lab.options
        if changes is not None and changes.narrowed:
            used |= {of_observability.Narrowing.of(check, changes) for check in fault.checks}
    assert used == set(of_observability.NARROWINGS)


@pytest.mark.parametrize("narrowing", of_observability.NARROWINGS, ids=lambda narrowing: narrowing.id)
def test_a_quiet_control_narrows_as_faults_do_and_changes_nothing_else(
    narrowing: of_observability.Narrowing,
) -> None:
    nothing: Any = None
    whole = ObservabilityLab(find=nothing, owner=nothing)
    assert of_observability.Narrowing.of(narrowing.check, narrowing.on(whole).options) == narrowing


def test_a_fault_may_narrow_a_check_only_where_a_pristine_stack_is_seen_to_be_quiet() -> None:
    nothing: Any = None
    given = retention.Options(only="rows")
    work = ObservabilityWork(nothing, ObservabilityLab(find=nothing, owner=nothing, options=given))
    with pytest.raises(ValueError, match="NARROWINGS"):
        work.run("OBS-08")


def test_everything_that_a_fault_may_change_says_whether_it_narrows_the_check() -> None:
    places = [import_module(f"smos.observability.verify.{area}") for area in AREAS.values()]
    given = {
        place.__name__: [
            item
            for item in vars(place).values()
            if dataclasses.is_dataclass(item) and hasattr(item, "narrowed")
        ]
        for place in places
        if "lab.options" in inspect.getsource(place)
    }
    assert len(given) > 10
    assert {name: len(found) for name, found in given.items()} == dict.fromkeys(given, 1)


@pytest.fixture(scope="module")
def owner() -> Any:
    with Owner("narrowed") as found:
        yield found
