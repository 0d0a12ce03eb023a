"""The random campaign itself: dice, cases that can be tried again, the oracle, and what the report says of it."""

import json
import random
from pathlib import Path

import pytest

from smos.evidence import campaign as report
from smos.faults.dr.campaign import LEVELS
from smos.faults.dr.campaign.databases import compare
from smos.faults.dr.campaign.dumps import LINES
from smos.faults.dr.campaign.files import BYTES, snapshot
from smos.faults.dr.campaign.levels import by_name, levels, share
from smos.faults.dr.campaign.manifests import another, leaves
from smos.faults.dr.campaign.model import (
    Dice,
    Draw,
    Effect,
    NothingToDo,
    Outcome,
    Step,
    Truth,
    _outcome,
    run_steps,
)
from smos.faults.dr.campaign.reference import Portrait, portrait, tree
from smos.verdict import Judgement, fail, not_proven

NUMBERS = random.Random(7)  # noqa: S311  (no secret is made of them)

DUMP = """--
-- Name: t; Type: TABLE; Schema: public; Owner: a
--

CREATE TABLE public.t (id integer);

--
-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: a
--

COPY public.t (id) FROM stdin;
{rows}
\\.

--
-- Name: s; Type: SEQUENCE SET; Schema: public; Owner: a
--

SELECT pg_catalog.setval('public.s', {position}, true);

--
-- Name: TABLE t; Type: ACL; Schema: public; Owner: a
--

GRANT {rights} ON TABLE public.t TO b;
"""


def dump(rows: str = "1\n2", position: int = 5, rights: str = "SELECT,INSERT") -> Portrait:
    return portrait(DUMP.format(rows=rows, position=position, rights=rights))


def test_every_level_is_registered_under_its_name() -> None:
    assert tuple(level.name for level in levels()) == LEVELS
    assert all(level.kinds and level.examples > 0 for level in levels())
    assert sum(share(level, 5000) for level in levels()) == pytest.approx(5000, abs=len(LEVELS))
    assert by_name("files") is levels()[0]


def test_the_same_numbers_make_the_same_choices_and_no_numbers_the_first() -> None:
    assert [Dice((7, 8)).below(1000), Dice((7, 8)).below(1000)] == [Dice((7,)).below(1000)] * 2
    assert Dice(()).pick("abc") == "a"
    # Small numbers, which a generator draws most often, choose places all over a file.
    assert len({Dice((number,)).below(10**6) // 10**5 for number in range(40)}) == 10
    with pytest.raises(NothingToDo):
        Dice((1,)).pick(())
    for _ in range(200):
        dice = Dice([NUMBERS.randrange(2**31) for _ in range(4)])
        one, other = dice.two(range(3))
        assert one != other


def test_a_case_is_read_back_as_it_was_written() -> None:
    draw = Draw("files", (Step("flip a bit", (1, 2)), Step("empty", ())))
    assert Draw.parse(draw.text()) == draw


def test_a_step_that_finds_nothing_to_break_does_not_stop_the_others() -> None:
    def nothing(_dice: Dice) -> str:
        raise NothingToDo("it is not there")

    done = run_steps((Step("a"), Step("b")), {"a": nothing, "b": lambda _dice: "b was broken"})
    assert done == "a: nothing (it is not there); b was broken"


@pytest.mark.parametrize("kind", sorted(BYTES))
def test_a_damage_to_bytes_says_what_it_did_and_keeps_to_the_bytes(kind: str) -> None:
    changed = 0
    for _ in range(50):
        dice = Dice([NUMBERS.randrange(2**31) for _ in range(4)])
        after, done = BYTES[kind](dice, bytes(range(200)))
        assert done
        changed += after != bytes(range(200))
    assert changed > 30
    with pytest.raises(NothingToDo):
        BYTES["flip a bit"](Dice((1,)), b"")


@pytest.mark.parametrize(
    ("effect", "findings", "must_fail", "expected"),
    [
        (Effect.CHANGED, [fail("x", "", "")], True, Outcome.DETECTED),
        (Effect.CHANGED, [not_proven("x", "", "")], True, Outcome.MISSED),
        (Effect.CHANGED, [not_proven("x", "", "")], False, Outcome.DETECTED),
        (Effect.CHANGED, [], False, Outcome.MISSED),
        (Effect.SAME, [], False, Outcome.HARMLESS),
        (Effect.SAME, [not_proven("x", "", "")], False, Outcome.FALSE_ALARM),
        (Effect.EITHER, [], False, Outcome.HARMLESS),
        (Effect.EITHER, [fail("x", "", "")], False, Outcome.DETECTED),
    ],
)
def test_the_checks_are_held_against_the_oracle(effect, findings, must_fail, expected) -> None:  # noqa: ANN001
    truth = Truth(effect=effect, done="", checks=("DR-02",), must_fail=must_fail)
    assert _outcome(truth, {"DR-02": Judgement(tuple(findings))}) is expected


def test_the_oracle_knows_no_order_of_rows_and_rights_and_lets_sequences_run_ahead() -> None:
    whole = dump()
    assert compare(whole, dump(rows="2\n1", rights="INSERT,SELECT"))[0] is Effect.SAME
    assert compare(whole, dump(rows="1\n3"))[0] is Effect.CHANGED
    assert compare(whole, dump(rows="1\n1\n2"))[0] is Effect.CHANGED
    assert compare(whole, dump(rights="SELECT"))[0] is Effect.CHANGED
    assert compare(whole, dump(position=9))[0] is Effect.EITHER
    assert compare(whole, dump(position=4))[0] is Effect.CHANGED


def test_the_oracle_sees_all_of_a_tree_but_its_times(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    (tmp_path / "link").symlink_to("./a")
    before = tree(tmp_path)
    file.touch()
    assert tree(tmp_path) == before
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("a")
    assert tree(tmp_path) != before, "a link that is spelled otherwise is another link"
    after = tree(tmp_path)
    (tmp_path / "b").hardlink_to(file)
    (tmp_path / "b").rename(tmp_path / "link")
    assert tree(tmp_path) != after
    file.chmod(0o600)
    assert snapshot(tmp_path)["a"] == b"x"


def test_every_statement_of_a_manifest_can_be_changed_into_another() -> None:
    data = {"a": [1, True, "x", None, {}, ""], "b": {"c": "A1"}}
    found = [(path, node[key]) for node, key, path in leaves(data)]
    assert [path for path, _ in found] == ["a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "b/c"]
    for _, value in found:
        for number in range(30):
            assert another(value, Dice((number,))) != value


def trial(
    outcome: str = "detected", effect: str = "changed", why: str = "", level: str = "files"
) -> report.Trial:
    return report.Trial(
        level=level, title=f"{level} of a set", case='["files"]', done="n8n: a bit\nflipped", effect=effect,
        outcome=outcome, verdicts={"DR-02": "FAIL"}, codes=("x",), why=why, seed=7, seconds=0.5,
    )  # fmt: skip


def test_the_report_counts_damage_survivors_and_defects(tmp_path: Path) -> None:
    rows = [trial(), trial("harmless", "same", "no byte is another one"), trial("detected", "either", "odd")]
    for number, row in enumerate(rows):
        report.append(tmp_path, f"gw{number % 2}", row)
    assert sorted(report.read(tmp_path), key=str) == sorted(rows, key=str)
    (tmp_path / "detection.json").write_text('{"schema": 1, "total": 9}')
    report.write(tmp_path, rows, None)
    data = json.loads((tmp_path / "detection.json").read_bytes())
    assert data["total"] == 9, "the matrix stays"
    found = data["campaign"]
    assert (found["cases"], found["damaged"], found["detected"], found["objected"], found["harmless"]) == (
        3,
        1,
        1,
        1,
        1,
    )
    assert found["survivors"] == {"no byte is another one": 1}
    assert found["defects"] == []
    assert found["seeds"] == [7]
    text = (tmp_path / "summary.md").read_text()
    assert "✅ Unlisted damage" in text
    assert "1 cases: no byte is another one" in text
    report.write(tmp_path, [*rows, trial("missed")], None)
    text = (tmp_path / "summary.md").read_text()
    assert text.count("Unlisted damage") == 1
    assert '- missed: n8n: a bit flipped: `["files"]`' in text
    assert "1 of 2 that changed something were noticed" in text


@pytest.mark.parametrize("place", range(7), ids=["second", "minute", "hour", "day", "month", "year", "dst"])
def test_the_moment_of_a_dump_does_not_decide_what_is_damaged(place: int) -> None:
    """10 and 13 are ends of lines elsewhere; in an archive's header they are a second, an hour, November."""

    def done(value: int) -> str:
        date = [b"\0" + (value if number == place else 5).to_bytes(4, "little") for number in range(7)]
        header = b"PGDMP" + bytes((1, 16, 0, 4, 8, 3, 1)) + b"".join(date)
        changed, said = LINES["repeat a line"](Dice([7]), header + b"\0\4\0\0\0shop\n" + b"more\n" * 9)
        assert changed != header
        return said

    assert {done(value) for value in range(61)} == {done(5)}
