"""DR-04: Every declared volume comes back, entry by entry."""

import pytest

from fixtures.evidence import Prove
from smos.checks.dr.nothing import nothing_restored
from smos.checks.dr.production import of_newest
from smos.checks.dr.volumes import judge_volumes
from smos.drill.record import DrillRecord


@pytest.mark.dr
@pytest.mark.check("DR-04")
def test_every_declared_volume_comes_back_entry_by_entry(drill: DrillRecord, prove: Prove) -> None:
    """Every declared volume comes back, entry by entry."""
    if drill.chosen_set is None and drill.fetch_problem is None:
        prove(nothing_restored("volume"))
    prove(
        of_newest(
            drill.live,
            lambda: judge_volumes(
                drill.target.volumes, drill.volumes, drill.target.references, closed=drill.not_decrypted
            ),
        )
    )
