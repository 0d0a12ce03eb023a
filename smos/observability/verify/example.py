"""A drill of which everything is known, as the controller would report it."""

from dataclasses import dataclass

from smos.checks.registry import check
from smos.clock import SystemClock
from smos.drill.phases import PHASES, PhaseFacts, Timing
from smos.evidence.accounting import CheckOutcome, RunOutcome
from smos.evidence.run import RunInfo
from smos.verdict import Verdict, fail

EXERCISED = {
    "detect": (0.0, 0.25),
    "provision": (0.25, 2.0),
    "fetch": (2.0, 3.5),
    "restore": (2.5, 9.5),
    "ready": (9.5, 10.0),
}
"""Phase to begin and end, in seconds from the disaster; two of them overlap, three are not exercised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleDrill:
    """What is exported, and told to Prometheus."""

    info: RunInfo
    outcome: RunOutcome
    timing: Timing


def example(name: str, *, run_id: str = "0123456789ab") -> ExampleDrill:
    """Return the drill of a target of this name. It failed one of two checks."""
    checks = tuple(
        CheckOutcome(
            check=check(check_id),
            verdict=verdict,
            findings=() if verdict is Verdict.PASS else (fail("schema-drift", "a table is missing", ""),),
            facts={"tables": 3},
            seconds=0.1,
            waiver=None,
            excused=False,
        )
        for check_id, verdict in (("DR-01", Verdict.PASS), ("DR-03", Verdict.FAIL))
    )
    phases = tuple(
        PhaseFacts(phase, EXERCISED[phase][1] - EXERCISED[phase][0], None, *EXERCISED[phase])
        if phase in EXERCISED
        else PhaseFacts(phase, None, "not exercised in this drill")
        for phase in PHASES
    )
    return ExampleDrill(
        info=RunInfo(
            run_id=run_id,
            scope="self-test",
            target=name,
            provision="embedded",
            provision_reason="an example",
            sandbox="none",
            started=SystemClock().now(),
            backup_set="example",
            rto_objective_s=14_400.0,
            rpo_objective_s=86_400.0,
            not_required=(),
        ),
        outcome=RunOutcome(checks=checks, missing=(), verdict=Verdict.FAIL),
        timing=Timing(
            phases=phases,
            rto_actual_s=10.0,
            verify_s=None,
            rpo_actual_s=123.5,
            rpo_basis="heartbeat",
            data_bytes=4096,
        ),
    )
