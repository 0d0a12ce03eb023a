"""Negative controls of the observability checks on containers: what strikes a container is seen, and nothing else is.

They are part of a run with `--provision docker` (`make test-docker`): nothing else asks for containers.
"""

import pytest

from fixtures.observability import ObservabilityFaults
from smos.faults.observability.containers import BREAKS
from smos.faults.registry import Case, cases

pytestmark = [pytest.mark.observability, pytest.mark.containers, pytest.mark.negative]

CASES = [case for case in cases("observability") if case.fault.breaks == BREAKS]


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_fault_is_detected_for_the_right_reason(
    case: Case, observability_container_faults: ObservabilityFaults
) -> None:
    """The check says what the catalogue of faults expects, in a finding that names what was broken."""
    reason = observability_container_faults.expose(case)
    assert not reason, reason
