"""Run one check of the failover suite on the records that `lab` gives: the suite and its negative controls do."""

from collections.abc import Callable
from dataclasses import dataclass

from smos.checks.failover import commits, recommendation, rejoin, rto, splitbrain, vault
from smos.errors import AbsentError, SmosError
from smos.failover.facts import Campaign, LeaderLoss, Mode, QuorumLoss
from smos.target import Objectives
from smos.verdict import Judgement, not_proven


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverLab:
    """Where the records come from: each is made when it is first asked for. Any of them may raise SmosError."""

    objectives: Objectives
    campaign: Callable[[], Campaign]
    leaders: Callable[[], tuple[LeaderLoss, ...]]
    quorum: Callable[[], QuorumLoss]


def exercise(check_id: str, lab: FailoverLab) -> Judgement:
    """Judge one check. What stops the drill leaves the check unproven.

    Raises AbsentError where the provisioner that was asked for is not here.
    """
    rto_s, rpo_s = lab.objectives.rto_s, lab.objectives.rpo_s
    runs: dict[str, Callable[[], Judgement]] = {
        "FAILOVER-01": lambda: commits.judge_asynchronous(lab.campaign(), rpo_s),
        "FAILOVER-02": lambda: commits.judge_lossless(lab.campaign(), Mode.SYNCHRONOUS),
        "FAILOVER-03": lambda: commits.judge_lossless(lab.campaign(), Mode.QUORUM),
        "FAILOVER-04": lambda: rto.judge(lab.campaign(), rto_s),
        "FAILOVER-05": lambda: splitbrain.judge(lab.campaign()),
        "FAILOVER-06": lambda: rejoin.judge(lab.campaign()),
        "FAILOVER-07": lambda: vault.judge_leader(lab.leaders(), rto_s),
        "FAILOVER-08": lambda: vault.judge_quorum(lab.quorum()),
        "FAILOVER-09": lambda: recommendation.judge(lab.campaign(), rto_s, rpo_s),
    }
    try:
        return runs[check_id]()
    except AbsentError:
        raise
    except SmosError as error:
        remedy = error.remedy or "look at the logs of the servers, then run the drill again"
        finding = not_proven("failover-stopped", f"The drill could not be made: {error.message}", remedy)
        return Judgement((finding,))
