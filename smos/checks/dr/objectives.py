"""DR-07: what was measured against what the business asks for."""

from typing import TYPE_CHECKING

from smos.target import Target
from smos.verdict import Finding, Judgement, fail, not_proven, note

if TYPE_CHECKING:
    from smos.drill.phases import Timing

CLOCK_TOLERANCE_S = 600
"""Clocks of source and runner may differ by this much before a recovery point in the future is not believed."""


def judge_objectives(target: Target, timing: "Timing") -> Judgement:
    """Judge RTO actual and RPO actual (seconds) against the target's objectives.

    RTO actual: from the declared disaster until the application is ready. RPO actual: from the newest committed
    write that survived until the disaster (definitions: NIST SP 800-34 Rev. 1, section 3.2.1; ISO 22300:2021).
    """
    objectives = target.objectives
    findings: list[Finding] = []
    if timing.rto_actual_s is None:
        findings.append(
            not_proven(
                "rto-not-measured",
                "The drill never reached an application that is ready, so there is no recovery time",
                "mend what DR-03, DR-04, DR-05 and DR-06 report; the time is measured when they come back",
            )
        )
    elif timing.rto_actual_s > objectives.rto_s:
        slowest = max(timing.phases, key=lambda phase: phase.seconds or 0.0)
        findings.append(
            fail(
                "rto-exceeded",
                f"RTO actual {timing.rto_actual_s:.1f} s is above the objective {objectives.rto_s:.0f} s"
                f" (longest phase: {slowest.name}, {slowest.seconds or 0:.1f} s)",
                "shorten the longest phase, or agree on an objective that can be met",
            )
        )
    if timing.rpo_actual_s is not None and timing.rpo_actual_s < -CLOCK_TOLERANCE_S:
        findings.append(
            not_proven(
                "rpo-implausible",
                f"The restored content reaches {-timing.rpo_actual_s:.0f} s beyond the moment of the disaster",
                "compare the clocks of source and runner; a recovery point can't lie in the future",
            )
        )
    if timing.rpo_actual_s is None:
        findings.append(
            not_proven(
                "rpo-not-measured",
                "No restored content tells up to when it reaches",
                "install a heartbeat on the source (docs/heartbeat.md), or keep the time stamp in the file names",
            )
        )
    elif timing.rpo_actual_s > objectives.rpo_s:
        findings.append(
            fail(
                "rpo-exceeded",
                f"RPO actual {timing.rpo_actual_s:.0f} s is above the objective {objectives.rpo_s:.0f} s"
                f" (from: {timing.rpo_basis})",
                "take backups more often, or archive the write-ahead log continuously",
            )
        )
    if timing.rpo_actual_s is not None and timing.rpo_basis == "dump-start upper bound":
        findings.append(
            note("rpo-upper-bound", "RPO actual is an upper bound: it comes from the start of the dump")
        )
    return Judgement(
        tuple(findings),
        {
            "rto_actual_s": timing.rto_actual_s,
            "rto_objective_s": objectives.rto_s,
            "rpo_actual_s": timing.rpo_actual_s,
            "rpo_objective_s": objectives.rpo_s,
            "rpo_basis": timing.rpo_basis,
            "verify_s": timing.verify_s,
            "data_bytes": timing.data_bytes,
            "phases": [{"name": p.name, "seconds": p.seconds, "excluded": p.excluded} for p in timing.phases],
        },
    )
