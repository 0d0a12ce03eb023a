"""What collectors declare, and how the real one refuses to start; that declarations hold is OBS-12's work.

The real collector is never skipped: where it was not built, its tests fail and say how to build it.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smos.errors import ProvisionError
from smos.observability.verify.conformance import HOLDS, MAKES
from smos.provision.embedded import otelcol, rotel
from smos.provision.embedded.clickhouse import EmbeddedClickHouse
from smos.provision.embedded.otelcol import EmbeddedOtelcol
from smos.provision.owner import Owner
from smos.provision.telemetry import Capabilities

DECLARED = {"otelcol": otelcol.CAPABILITIES, "rotel": rotel.CAPABILITIES}


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-collectors") as owner:
        yield owner


def test_every_capability_that_is_declared_is_tried() -> None:
    assert set(MAKES) == set(DECLARED)
    assert set(HOLDS) == {item.name for item in dataclasses.fields(Capabilities)}
    for declared in DECLARED.values():
        assert set(declared.present()) | set(declared.absent()) == set(HOLDS)


def test_only_the_real_collector_says_that_it_proves_the_shipped_configuration() -> None:
    assert DECLARED["otelcol"].absent() == ()
    assert "shipped_configuration" in DECLARED["rotel"].absent()
    assert "persistent_queue" in DECLARED["rotel"].absent()


def test_a_configuration_that_names_an_unknown_component_is_found(owner: Owner, tmp_path: Path) -> None:
    clickhouse = EmbeddedClickHouse(owner, name="unstarted")
    broken = tmp_path / "config.yaml"
    broken.write_text(
        otelcol.configuration().read_text().replace("exporters: [clickhouse]", "exporters: [nobody]")
    )
    with pytest.raises(ProvisionError, match="exit code"):
        EmbeddedOtelcol(owner, clickhouse.endpoint, name="broken", config=broken).validate()


def test_a_collector_with_the_wrong_password_does_not_become_ready(owner: Owner) -> None:
    clickhouse = EmbeddedClickHouse(owner, name="closed", memory=True)
    clickhouse.start()
    endpoint = replace(clickhouse.endpoint, password="wrong")
    with pytest.raises(ProvisionError) as refused:
        EmbeddedOtelcol(owner, endpoint, name="stranger").start()
    assert "516" in str(refused.value)
    assert clickhouse.endpoint.password not in str(refused.value)
    clickhouse.kill()
