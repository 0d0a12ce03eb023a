"""Encrypted sets that nobody damaged pass: it is the damage that the negative controls detect, not the encryption."""

import pytest

from fixtures.fault_lab import FaultLab
from smos.faults.dr.exercise import Scope
from smos.faults.dr.workspace import Workspace
from smos.verdict import Verdict

pytestmark = pytest.mark.negative


@pytest.mark.parametrize("check_id", ["DR-02", "DR-03", "DR-04", "DR-05", "DR-06"])
def test_an_encrypted_set_passes(check_id: str, fault_lab: FaultLab) -> None:
    """The whole drill opens it with the escrow alone, and every check of what came back passes."""

    def encrypted() -> Workspace:
        work = fault_lab.pristine()
        work.encrypt()
        work.whole_drill = True
        return work

    judgement = fault_lab.judge_whole("encrypted", check_id, encrypted)
    assert judgement.verdict is Verdict.PASS, judgement.findings


def test_a_key_that_was_rotated_after_the_backup_still_opens_it(fault_lab: FaultLab) -> None:
    """Rotation alone takes nothing away: old versions stay allowed until somebody shuts them off."""
    work = fault_lab.pristine()
    work.encrypt(lambda root: root.secrets.transit.rotate_key("smarteros-secrets"))
    judgement = fault_lab.judge_pristine("DR-02", work, Scope())
    assert judgement.verdict is Verdict.PASS, judgement.findings
