"""Negative controls of the recovery checks: each one is seen to fail, for the right reason, and never without one."""

import pytest

from fixtures.fault_lab import FaultLab
from smos.checks.dr import CHECKS
from smos.faults.dr.exercise import Scope
from smos.faults.dr.workspace import Workspace
from smos.faults.registry import Case, cases
from smos.verdict import Verdict

pytestmark = pytest.mark.negative

RECOVERY = [check.id for check in CHECKS]
CASES = cases("dr")


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_fault_is_detected_for_the_right_reason(case: Case, fault_lab: FaultLab) -> None:
    """The check says what the catalogue of faults expects, in a finding that names what was broken."""
    reason = fault_lab.expose(case)
    assert not reason, reason


@pytest.mark.parametrize("check_id", RECOVERY)
def test_pristine_copy_passes(check_id: str, fault_lab: FaultLab) -> None:
    """The same check, run in the same way against a copy that nothing was done to, passes."""

    def every_set() -> Workspace:
        work = fault_lab.pristine()
        work.every_set = True
        return work

    judgement = fault_lab.judge_whole("copy", check_id, every_set)
    assert judgement.verdict is Verdict.PASS, judgement.findings


@pytest.mark.parametrize("database", ["smarteros", "n8n", "chatwoot", "botpress"])
def test_a_dump_made_anew_without_damage_passes(database: str, fault_lab: FaultLab) -> None:
    """It is the damage that is detected, not that the workshop dumped a database again."""
    work = fault_lab.pristine()
    work.edit_dump(database)
    work.rehash()
    for check_id, scope in (("DR-02", Scope()), ("DR-03", Scope(databases=(database,)))):
        judgement = fault_lab.judge_pristine(check_id, work, scope)
        assert judgement.verdict is Verdict.PASS, judgement.findings


@pytest.mark.parametrize("volume", ["n8n_data", "odoo-web-data", "chatwoot-data"])
def test_an_archive_made_anew_without_damage_passes(volume: str, fault_lab: FaultLab) -> None:
    """It is the damage that is detected, not that a volume was restored and archived again."""
    work = fault_lab.pristine()
    work.rearchive(volume, lambda _root: None)
    work.rehash()
    for check_id, scope in (("DR-02", Scope()), ("DR-04", Scope(databases=("chatwoot",), volumes=(volume,)))):
        judgement = fault_lab.judge_pristine(check_id, work, scope)
        assert judgement.verdict is Verdict.PASS, judgement.findings


def test_a_vault_that_nobody_damaged_passes(fault_lab: FaultLab) -> None:
    """It is the damage that is detected, not that the snapshot is of another Vault with its own escrow."""
    work = fault_lab.pristine()
    work.damage_vault(lambda _root: None)
    judgement = fault_lab.judge_pristine("DR-06", work, Scope())
    assert judgement.verdict is Verdict.PASS, judgement.findings


@pytest.mark.parametrize("check_id", ["DR-01", "DR-03", "DR-05"])
def test_a_host_that_nothing_is_wrong_with_passes(check_id: str, fault_lab: FaultLab) -> None:
    """It is the fault that is detected, not that a host was looked at and its backups were fetched."""
    from smos.faults.dr.live import healthy

    work = fault_lab.pristine()
    healthy(work)
    judgement = fault_lab.judge_pristine(check_id, work, Scope())
    assert judgement.verdict is Verdict.PASS, judgement.findings
