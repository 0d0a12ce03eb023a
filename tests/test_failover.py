"""Failover: the ledger, the judges and the recommendation without a server; the relay and PostgreSQL 15 with one."""

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from fixtures.backups import run_dir_key
from smos.checks.failover import CHECKS, commits, recommendation, rejoin, rto, splitbrain, vault
from smos.checks.failover.exercise import FailoverLab, exercise
from smos.errors import SmosError
from smos.failover.campaign import plan
from smos.failover.facts import (
    Attempt,
    Campaign,
    Disaster,
    Durability,
    Failover,
    LeaderLoss,
    Mode,
    Outcome,
    QuorumLoss,
    Rejoin,
    Return,
    Stall,
    Tally,
)
from smos.failover.ground import EmbeddedGround, process_state, witness
from smos.failover.ledger import STRAY, Entry, Ledger, Row, newest_survivor, tally
from smos.failover.recommend import as_json, distribution, measure, recommend
from smos.failover.strike import EXPECTED
from smos.provision.owner import Owner
from smos.target import Objectives
from smos.verdict import Judgement, Verdict
from smos.wait import wait_for

ROOT = Path(__file__).resolve().parent.parent
HOUR = 3600.0


def entries(*acknowledged: int, unknown: tuple[int, ...] = (), client: int = 1) -> list[Entry]:
    return [Entry(client, n, f"t{n}", float(n)) for n in acknowledged] + [
        Entry(client, n, f"t{n}") for n in unknown
    ]


def rows(*numbers: int, client: int = 1) -> list[Row]:
    return [Row(client, n, f"t{n}", place) for place, n in enumerate(numbers)]


# --- the ledger --------------------------------------------------------------------------------------------


def test_what_was_acknowledged_and_is_not_there_is_lost() -> None:
    found = tally(entries(1, 2, 3), rows(1, 2))
    assert (found.acknowledged, found.lost, found.examples["lost"]) == (3, 1, ("1/3",))


def test_an_unknown_outcome_is_neither_acknowledged_nor_lost() -> None:
    found = tally(entries(1, unknown=(2, 3)), rows(1, 2))
    assert (found.acknowledged, found.unknown, found.unknown_present, found.lost) == (1, 2, 1, 0)
    assert found.strangers == 0


def test_a_refused_row_that_is_there_is_a_stranger() -> None:
    found = tally([Entry(1, 1, "t1", refused=True)], rows(1))
    assert (found.refused, found.unknown, found.strangers) == (1, 0, 1)


@pytest.mark.parametrize(
    ("present", "kind"),
    [
        ([*rows(1, 2), Row(9, 1, "x", 7)], "strangers"),
        ([*rows(1, 2), Row(1, 2, "t2", 7)], "duplicates"),
        ([Row(1, 1, "t1", 0), Row(1, 2, "other", 1)], "altered"),
        (rows(2, 1), "disordered"),
    ],
    ids=["stranger", "duplicate", "altered", "disordered"],
)
def test_rows_that_should_not_be_there_or_not_so_are_counted(present: list[Row], kind: str) -> None:
    found = tally(entries(1, 2), present)
    counts = {
        name: getattr(found, name) for name in ("strangers", "duplicates", "altered", "disordered", "lost")
    }
    assert counts == {name: int(name == kind) for name in counts}
    assert found.examples[kind]


def test_clients_may_overtake_each_other() -> None:
    found = tally(
        [*entries(1, 2), *entries(1, 2, client=2)],
        [*rows(1, 2, client=2), Row(1, 1, "t1", 8), Row(1, 2, "t2", 9)],
    )
    assert found.disordered == 0


def test_the_newest_survivor_is_an_acknowledged_commit_of_before_the_disaster() -> None:
    assert newest_survivor(entries(1, 2, 3, unknown=(4,)), rows(1, 2, 4), before=10.0) == 2.0
    assert newest_survivor(entries(1, 2), rows(1, 2), before=1.5) == 1.0
    assert newest_survivor(entries(1), [], before=9.0) is None


def test_the_ledger_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.journal(3) as journal:
        token = journal.attempt(1)
        journal.acknowledge(1, 12.5)
        journal.attempt(2)
        journal.attempt(3)
        journal.refuse(3)
    with ledger.journal(3) as journal:
        journal.attempt(4)
    found = {entry.n: entry for entry in ledger.read()}
    assert found[1] == Entry(3, 1, token, 12.5)
    assert (found[2].at, found[2].refused, found[3].refused, found[4].at) == (None, False, True, None)
    with ledger.journal(3) as journal:
        journal.attempt(4)
    with pytest.raises(SmosError, match="twice"):
        ledger.read()


# --- the judges --------------------------------------------------------------------------------------------

GOOD = Durability(synchronous_commit="on", names="ANY 1 (b, c)", states=(("b", "quorum"), ("c", "sync")))


def failover(
    mode: Mode = Mode.ASYNCHRONOUS, disaster: Disaster = Disaster.KILL, **changes: object
) -> Failover:
    cut = disaster is Disaster.LAG and mode is Mode.ASYNCHRONOUS
    whole = Failover(
        number=1,
        mode=mode,
        disaster=disaster,
        old="a",
        new="b",
        rto_s=0.2,
        rpo_s=0.5 if cut else 0.0,
        phases={"promote": 0.1},
        latencies=(0.001, 0.002, 0.003),
        durability=GOOD,
        tally=Tally(
            attempted=40,
            acknowledged=30,
            acknowledged_before=25,
            unknown=10,
            lost=20 * cut,
            acknowledged_after_cut=20 * cut,
            lost_after_cut=20 * cut,
        ),
        timeline_before=1,
        timeline_after=2,
        returned=Return(
            fenced_before_promotion=True,
            running=True,
            attempts=(
                Attempt(through="old primary", outcome=Outcome.REFUSED, node="a"),
                Attempt(through="service", outcome=Outcome.ACCEPTED, node="b"),
            ),
        ),
        rejoin=Rejoin(
            rewound=True,
            needed=True,
            follows=True,
            diverged=False,
            digests={"a": "1", "b": "1", "c": "1"},
            seconds=1.0,
        ),
    )
    behind = "c" if mode is Mode.QUORUM else ""
    changes = {"befell": EXPECTED[disaster], "writing": 3} | changes
    return replace(whole, **({"behind": behind} | changes))  # type: ignore[arg-type]


def campaign(*runs: Failover) -> Campaign:
    return Campaign(
        version="18",
        load=3,
        failovers=runs,
        stalls=(Stall(mode=Mode.SYNCHRONOUS, frozen="b", acknowledged=False),),
    )


WHOLE = campaign(*(failover(mode, disaster) for mode in Mode for disaster in Disaster))
LOSS = LeaderLoss(
    rto_s=1.0,
    tally=Tally(acknowledged=9),
    leaders=("y",),
    old="x",
    new="y",
    rejoined=True,
    gone=True,
)
REFUSED = QuorumLoss(
    attempts=(Attempt(through="x", outcome=Outcome.REFUSED),),
    recovered=True,
    tally=Tally(acknowledged=9),
    gone=2,
)


def every_disaster(**of_the_cut: object) -> Campaign:
    """Return synchronous failovers after everything; the one after a cut of replication is as told."""
    kinds = (Disaster.KILL, Disaster.FREEZE, Disaster.CUT)
    lag = failover(Mode.SYNCHRONOUS, Disaster.LAG, **of_the_cut)
    return campaign(*(failover(Mode.SYNCHRONOUS, kind) for kind in kinds), lag)


def codes(judgement: Judgement) -> dict[str, Verdict]:
    return {item.code: item.verdict for item in judgement.findings if item.verdict is not Verdict.PASS}


def all_of(record: Campaign, objectives: Objectives | None = None) -> dict[str, Judgement]:
    lab = FailoverLab(
        objectives=objectives or Objectives(),
        campaign=lambda: record,
        leaders=lambda: (LOSS,),
        quorum=lambda: REFUSED,
    )
    return {check.id: exercise(check.id, lab) for check in CHECKS}


def test_whole_drills_pass_every_check() -> None:
    assert {name: codes(found) for name, found in all_of(WHOLE).items() if codes(found)} == {}


def test_nothing_that_was_not_tried_is_proven() -> None:
    found = all_of(campaign())
    of_postgres = [name for name in found if name not in {"FAILOVER-07", "FAILOVER-08"}]
    assert {name: found[name].verdict for name in of_postgres} == dict.fromkeys(
        of_postgres, Verdict.NOT_PROVEN
    )
    assert vault.judge_leader((), 1.0).verdict is Verdict.NOT_PROVEN
    assert (
        vault.judge_quorum(QuorumLoss(attempts=(), recovered=True, tally=Tally())).verdict
        is Verdict.NOT_PROVEN
    )


def test_synchronous_modes_are_not_proven_without_a_cut() -> None:
    record = campaign(*every_disaster().failovers[:-1])
    assert codes(commits.judge_lossless(record, Mode.SYNCHRONOUS)) == {"cut-not-tried": Verdict.NOT_PROVEN}
    for missing in range(3):
        runs = every_disaster().failovers
        record = campaign(*(runs[:missing] + runs[missing + 1 :]))
        assert codes(commits.judge_lossless(record, Mode.SYNCHRONOUS)) == {
            "disaster-not-tried": Verdict.NOT_PROVEN
        }


@pytest.mark.parametrize(
    ("acknowledged", "lost"), [(0, 0), (20, 19), (20, 0)], ids=["nothing-written", "one-short", "none"]
)
def test_a_counter_that_does_not_count_what_must_be_lost_is_refused(acknowledged: int, lost: int) -> None:
    counted = Tally(
        attempted=30,
        acknowledged=30,
        acknowledged_before=30,
        acknowledged_after_cut=acknowledged,
        lost_after_cut=lost,
        lost=lost,
    )
    record = campaign(failover(disaster=Disaster.LAG, tally=counted))
    assert codes(commits.judge_asynchronous(record, HOUR)) == {"loss-not-counted": Verdict.FAIL}


@pytest.mark.parametrize("value", ["off", "local", "remote_write", "on, off"])
def test_every_weaker_synchronous_commit_is_found(value: str) -> None:
    run = failover(Mode.QUORUM, Disaster.LAG, durability=replace(GOOD, synchronous_commit=value))
    assert codes(commits.judge_lossless(campaign(run), Mode.QUORUM)) == {"sync-commit-weak": Verdict.FAIL}


def test_remote_apply_waits_for_more_than_on() -> None:
    run = failover(Mode.QUORUM, Disaster.LAG, durability=replace(GOOD, synchronous_commit="remote_apply"))
    assert codes(commits.judge_lossless(campaign(run), Mode.QUORUM)) == {}


def test_a_quorum_is_not_proven_where_no_standby_was_left_behind() -> None:
    record = campaign(failover(Mode.QUORUM, Disaster.LAG, behind=""))
    assert codes(commits.judge_lossless(record, Mode.QUORUM)) == {"laggard-not-tried": Verdict.NOT_PROVEN}


def test_a_standby_that_no_commit_waits_for_is_found() -> None:
    record = every_disaster(durability=replace(GOOD, states=(("b", "async"),)))
    assert codes(commits.judge_lossless(record, Mode.SYNCHRONOUS)) == {"no-synchronous-standby": Verdict.FAIL}


def test_a_failover_without_a_write_fails_and_tells_nothing_of_losses() -> None:
    record = every_disaster(rto_s=None, timeline_after=None, error="nobody", tally=Tally(lost=9))
    assert codes(rto.judge(record, HOUR)) == {"no-write-after-failover": Verdict.FAIL}
    assert codes(commits.judge_lossless(record, Mode.SYNCHRONOUS)) == {
        "failover-unfinished": Verdict.NOT_PROVEN
    }


def test_one_slow_failover_among_many_fails() -> None:
    record = campaign(*(failover(rto_s=0.1) for _ in range(19)), failover(rto_s=9.0))
    assert codes(rto.judge(record, 5.0)) == {"rto-exceeded": Verdict.FAIL}


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.WAITS])
def test_an_old_primary_that_takes_a_commit_is_found_even_if_it_waits(outcome: Outcome) -> None:
    found = Return(
        fenced_before_promotion=True,
        running=True,
        attempts=(
            Attempt(through="old primary, as superuser", outcome=outcome, node="a"),
            Attempt(through="service", outcome=Outcome.ACCEPTED, node="b"),
        ),
    )
    assert codes(splitbrain.judge(campaign(failover(returned=found)))) == {"split-brain": Verdict.FAIL}


def test_rejoining_is_proven_only_where_there_was_something_to_rewind() -> None:
    idle = replace(failover().rejoin, needed=False)  # type: ignore[type-var]
    assert codes(rejoin.judge(campaign(failover(rejoin=idle)))) == {"nothing-to-rewind": Verdict.NOT_PROVEN}
    assert codes(rejoin.judge(campaign(failover(rejoin=idle), failover()))) == {}


def test_a_standby_that_does_not_follow_or_was_not_compared_is_found() -> None:
    alone = replace(failover().rejoin, follows=False)  # type: ignore[type-var]
    assert codes(rejoin.judge(campaign(failover(rejoin=alone)))) == {"rejoin-not-following": Verdict.FAIL}
    uncompared = replace(failover().rejoin, digests={"b": "1"})  # type: ignore[type-var]
    assert codes(rejoin.judge(campaign(failover(rejoin=uncompared)))) == {
        "rejoin-not-compared": Verdict.NOT_PROVEN
    }


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"leaders": ("x", "y")}, "vault-leaders"),
        ({"leaders": ()}, "vault-leaders"),
        ({"rejoined": False}, "vault-not-rejoined"),
        ({"tally": Tally(acknowledged=9, strangers=1)}, "vault-never-written"),
    ],
)
def test_a_vault_cluster_with_another_fault_fails(changes: dict[str, object], code: str) -> None:
    assert codes(vault.judge_leader((replace(LOSS, **changes),), 60)) == {code: Verdict.FAIL}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes", [{"gone": False}, {"leaders": ("x",), "new": "x"}], ids=["answers", "still-leads"]
)
def test_a_vault_leader_that_was_not_lost_proves_nothing(changes: dict[str, object]) -> None:
    judgement = vault.judge_leader((replace(LOSS, **changes),), 60)  # type: ignore[arg-type]
    assert codes(judgement) == {"leader-not-lost": Verdict.NOT_PROVEN}


def test_a_write_that_is_refused_for_another_reason_than_the_quorum_proves_nothing() -> None:
    forbidden = Attempt(through="x", outcome=Outcome.UNREACHABLE, detail="permission denied")
    found = replace(REFUSED, attempts=(*REFUSED.attempts, forbidden))
    assert codes(vault.judge_quorum(found)) == {"quorum-inconclusive": Verdict.NOT_PROVEN}
    alive = replace(REFUSED, gone=1, attempts=(Attempt(through="x", outcome=Outcome.ACCEPTED),))
    assert codes(vault.judge_quorum(alive)) == {"quorum-not-lost": Verdict.NOT_PROVEN}


# --- what a drill must not pass on --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"befell": ""}, "disaster-not-seen"),
        ({"befell": "network stopped"}, "disaster-not-seen"),
        ({"writing": 0}, "load-ended"),
        ({"latencies": ()}, "nothing-acknowledged"),
        ({"tally": Tally(acknowledged=3, attempted=3)}, "nothing-acknowledged"),
        ({"tally": Tally(acknowledged=3, attempted=3, acknowledged_before=2)}, "ledger-incomplete"),
    ],
    ids=["nothing-befell", "something-else-befell", "idle", "no-latency", "probe-only", "short-ledger"],
)
@pytest.mark.parametrize("mode", Mode)
def test_a_drill_without_a_disaster_a_load_or_a_whole_ledger_proves_nothing(
    mode: Mode, changes: dict[str, object], code: str
) -> None:
    record = campaign(*(failover(mode, kind) for kind in Disaster), failover(mode, **changes))
    judgement = (
        commits.judge_asynchronous(record, HOUR)
        if mode is Mode.ASYNCHRONOUS
        else commits.judge_lossless(record, mode)
    )
    assert codes(judgement).get(code) is Verdict.NOT_PROVEN
    assert judgement.verdict is Verdict.NOT_PROVEN


def test_one_old_primary_that_did_not_come_back_or_rejoin_leaves_the_claim_unproven() -> None:
    record = campaign(failover(), failover(returned=None, rejoin=None))
    assert codes(splitbrain.judge(record)) == {"return-not-tried": Verdict.NOT_PROVEN}
    assert codes(rejoin.judge(record)) == {"rejoin-not-tried": Verdict.NOT_PROVEN}


def test_an_old_primary_that_nobody_reached_was_not_seen_to_refuse() -> None:
    served = Attempt(through="service", outcome=Outcome.ACCEPTED, node="b")
    down = Attempt(through="old primary", outcome=Outcome.UNREACHABLE)
    found = Return(fenced_before_promotion=True, running=False, attempts=(down, served))
    assert codes(splitbrain.judge(campaign(failover(returned=found)))) == {
        "old-never-answered": Verdict.NOT_PROVEN
    }
    full = Attempt(through="old primary", outcome=Outcome.UNREACHABLE, node="a", detail="no space left")
    found = replace(found, running=True, attempts=(full, served))
    assert codes(splitbrain.judge(campaign(failover(), failover(returned=found)))) == {
        "attempt-inconclusive": Verdict.NOT_PROVEN
    }


def test_empty_tables_agree_and_prove_nothing() -> None:
    empty = replace(failover().rejoin, digests=dict.fromkeys("abc", "0:"))  # type: ignore[type-var]
    assert codes(rejoin.judge(campaign(failover(rejoin=empty)))) == {
        "rejoin-not-compared": Verdict.NOT_PROVEN
    }


def test_what_is_lost_although_a_later_commit_is_there_is_a_hole() -> None:
    own = tally(entries(1, 2, 3), rows(1, 3))
    assert (own.lost, own.holes, own.examples["holes"]) == (1, 1, ("1/2",))
    end = tally(entries(1, 2, 3), rows(1))
    assert (end.lost, end.holes) == (2, 0)
    other = tally([*entries(1, client=1), *entries(2, 3, client=2)], rows(2, 3, client=2))
    assert (other.lost, other.holes) == (1, 1)  # client 2 began its second one after client 1 had its answer
    overlap = tally([*entries(2, client=1), *entries(1, 3, client=2)], rows(1, 3, client=2))
    assert (overlap.lost, overlap.holes) == (1, 0)


def test_writes_on_the_new_primary_make_no_hole_of_what_was_lost_before() -> None:
    later = [Entry(STRAY, 1, "t1", 8.0), Entry(STRAY, 2, "t2", 9.0)]
    found = tally([*entries(1, 2), *later], [*rows(1), *rows(1, 2, client=STRAY)], declared=5.0)
    assert (found.lost, found.holes, found.acknowledged_before) == (1, 0, 2)


def test_the_system_says_whether_a_process_runs_is_stopped_or_gone() -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        try:
            assert witness(process.pid, process.pid) == ""
            process.send_signal(signal.SIGSTOP)
            wait_for(lambda: process_state(process.pid) == "T", what="it is stopped", deadline_s=60)
            assert witness(process.pid, os.getpid()) == "server stopped"
        finally:
            process.kill()
        wait_for(lambda: process_state(process.pid) in {"Z", ""}, what="it has ended", deadline_s=60)
        assert witness(process.pid, os.getpid()) == "server gone"
    assert witness(os.getpid(), process.pid) == "network gone"


def test_a_drill_that_breaks_off_leaves_the_check_unproven() -> None:
    def broken() -> Campaign:
        raise SmosError("no room", remedy="make room")

    lab = FailoverLab(
        objectives=Objectives(),
        campaign=broken,
        leaders=tuple,
        quorum=lambda: QuorumLoss(attempts=(), recovered=True, tally=Tally()),
    )
    assert codes(exercise("FAILOVER-02", lab)) == {"failover-stopped": Verdict.NOT_PROVEN}


def test_a_drill_that_does_not_end_is_not_made_again_by_every_check(tmp_path: Path) -> None:
    from fixtures import failover as fixture

    config = SimpleNamespace(stash={run_dir_key: tmp_path})
    made = []

    def hang() -> int:
        made.append(1)
        pytest.fail("Timeout >480.0s")

    with pytest.raises(pytest.fail.Exception):
        fixture._once(config, "record.json", TypeAdapter(int), hang)
    with pytest.raises(SmosError, match=r"did not end: Timeout >480"):
        fixture._once(config, "record.json", TypeAdapter(int), hang)
    assert made == [1]


def test_fewer_failovers_than_kinds_of_disaster_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "failover", "--failovers", "2", "--collect-only", "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "at least 3" in done.stderr


# --- the recommendation ------------------------------------------------------------------------------------


def test_a_distribution_has_only_values_that_were_measured_at_its_ends() -> None:
    found = distribution([float(n) for n in range(20, 0, -1)])
    assert found is not None
    assert (found.n, found.median, found.p95, found.maximum) == (20, 10.5, 19.0, 20.0)
    assert distribution([]) is None
    three = distribution([3.0, 1.0, 2.0])
    assert three is not None
    assert (three.median, three.p95, three.maximum) == (2.0, 3.0, 3.0)


def mixed(asynchronous_rpo: float = 0.5) -> Campaign:
    runs = []
    for mode, latency in zip(Mode, (0.001, 0.003, 0.002), strict=True):
        runs.append(failover(mode, latencies=(latency,)))
        lag = failover(mode, Disaster.LAG, latencies=(latency,))
        runs.append(replace(lag, rpo_s=asynchronous_rpo) if mode is Mode.ASYNCHRONOUS else lag)
    return campaign(*runs)


def test_the_quickest_mode_that_meets_the_objectives_is_recommended_and_the_lossless_one_named() -> None:
    found = recommend(measure(mixed()), HOUR, HOUR)
    assert (found.mode, found.lossless) == (Mode.ASYNCHRONOUS, Mode.QUORUM)
    assert [round(item.cost_s or 0, 6) for item in found.options] == [0.0, 0.002, 0.001]
    assert found.lines[-1] == "To lose nothing that was acknowledged: quorum at +1.00 ms a commit."


def test_a_mode_that_loses_more_than_the_objective_is_not_recommended() -> None:
    found = recommend(measure(mixed(asynchronous_rpo=99.0)), HOUR, 60.0)
    assert found.mode is Mode.QUORUM
    assert found.options[0].reasons == ("RPO 99.000 s, objective 60 s",)


def test_no_mode_is_recommended_where_none_fits() -> None:
    judgement = recommendation.judge(mixed(), 0.1, HOUR)
    assert codes(judgement) == {"no-mode-fits": Verdict.FAIL}
    assert judgement.facts["recommended"] is None


def test_a_mode_that_was_not_measured_leaves_it_unproven() -> None:
    record = campaign(*(run for run in mixed().failovers if run.mode is not Mode.QUORUM))
    assert codes(recommendation.judge(record, HOUR, HOUR)) == {"mode-not-measured": Verdict.NOT_PROVEN}


def test_the_report_fits_its_schema() -> None:
    schema = json.loads((ROOT / "docs" / "failover.schema.json").read_text(encoding="utf-8"))
    found = recommend(measure(mixed()), HOUR, HOUR)
    report = as_json(found, "18.6", 3, HOUR, HOUR)
    Draft202012Validator.check_schema(schema)
    assert list(Draft202012Validator(schema).iter_errors(report)) == []
    assert list(Draft202012Validator(schema).iter_errors(report | {"schema": 2}))


def test_a_plan_has_every_disaster_in_turn_one_after_a_cut_and_with_a_quorum_one_with_a_laggard() -> None:
    kinds = [Disaster.KILL, Disaster.FREEZE, Disaster.CUT, Disaster.KILL]
    assert [kind for kind, _ in plan(Mode.SYNCHRONOUS, 4)] == [*kinds, Disaster.LAG]
    assert [kind for kind, _ in plan(Mode.QUORUM, 4)] == [*kinds, Disaster.KILL, Disaster.LAG]
    assert [steps.laggard for _, steps in plan(Mode.QUORUM, 1)] == [False, True, False]


def test_every_code_of_a_failover_finding_is_documented() -> None:
    text = (ROOT / "docs" / "findings-failover.md").read_text(encoding="utf-8")
    made = {
        node.args[0].value
        for path in (ROOT / "smos" / "checks" / "failover").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in {"fail", "not_proven", "note"}
        and isinstance(node.args[0], ast.Constant)
    }
    assert len(made) > 20
    assert sorted(code for code in made if f"`{code}`" not in text) == []
    assert (
        sorted(
            set(re.findall(r"^\| `([a-z-]+)`", text, re.MULTILINE))
            - made
            - {
                "row-never-attempted",
                "row-duplicated",
                "row-altered",
                "row-disordered",
                "acknowledged-missing-between",
            }
        )
        == []
    )


# --- with servers ------------------------------------------------------------------------------------------


def test_a_relay_passes_everything_and_nothing_while_it_is_cut(tmp_path: Path) -> None:
    from smos.failover.relay import Relay

    sent = bytes(range(256)) * 8192  # 2 MiB: more than the buffers on the way
    with Owner("relay") as owner:
        place = owner.directory("echo")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place / "up"))
            server.listen()

            def echo() -> None:
                while True:
                    connection, _ = server.accept()
                    with connection:
                        while data := connection.recv(1 << 16):
                            connection.sendall(data)
                    if data == b"":
                        return

            relay = Relay(owner, name="test", listen=place / "down", upstream=place / "up")
            probe = threading.Thread(target=echo)
            probe.start()
            relay.start()  # its own probe is the first connection: the echo ends with it
            probe.join(60)
            worker = threading.Thread(target=echo)
            worker.start()
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(60)
                client.connect(str(place / "down"))
                sender = threading.Thread(target=client.sendall, args=(sent,))
                sender.start()
                received = bytearray()
                while len(received) < len(sent):
                    received += client.recv(1 << 16)
                sender.join(60)
                assert bytes(received) == sent
                relay.cut()
                client.sendall(b"held")
                client.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    client.recv(4)
                relay.heal()
                client.settimeout(60)
                assert client.recv(4) == b"held"
            worker.join(60)
            relay.kill()
            with (
                socket.socket(socket.AF_UNIX) as client,
                pytest.raises(OSError, match=r"No such file|refused"),
            ):
                client.connect(str(place / "down"))


def test_postgresql_15_fails_over_and_rejoins_as_well() -> None:
    """The oldest server that is tried: pg_rewind reads a new timeline from the control file only there."""
    from smos.failover.cluster import Cluster
    from smos.failover.drill import run_drill
    from smos.provision.installations import find_installations

    old = [one for one in find_installations() if one.major == 15]
    if not old:
        pytest.skip("no PostgreSQL 15 here (Debian: apt install postgresql-15)")
    with Owner("failover-15") as owner:
        cluster = Cluster(owner, ground=EmbeddedGround(owner, old[0]), memory=True)
        cluster.start()
        lossy = run_drill(cluster, Disaster.LAG)
        cluster.set_mode(Mode.QUORUM)
        kept = run_drill(cluster, Disaster.LAG)
    # Lost is also what was on its way when the cut came.
    assert lossy.tally.lost_after_cut == lossy.tally.acknowledged_after_cut >= 20
    assert (kept.tally.lost, kept.tally.acknowledged_after_cut) == (0, 0)
    for run in (lossy, kept):
        assert splitbrain.judge(campaign(run)).findings == ()
        assert rejoin.judge(campaign(run)).findings == ()
