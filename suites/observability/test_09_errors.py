"""OBS-09: An error that the SDK sent is read back by its id; a wrong key is refused; nobody is named."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-09")
def test_an_error_is_read_back_and_a_wrong_key_refused(
    observability_lab: "ObservabilityLab", prove: Prove
) -> None:
    """An error that the SDK sent is read back by its id; a wrong key is refused; nobody is named."""
    prove(exercise("OBS-09", observability_lab))
