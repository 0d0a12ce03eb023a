"""DR-04's judge is a pure function: what it says of each fact, and that nothing missing is ever green."""

from dataclasses import replace

import pytest

from smos.backup.entries import DifferenceKind, EntryDifference, EntryExample
from smos.backup.extract_facts import ExtractFacts
from smos.backup.volumes import ReferenceFacts, VolumeFacts
from smos.checks.dr.volume_words import DIFFERENCES, PROBLEMS
from smos.checks.dr.volumes import judge_volumes
from smos.target import FileReference
from smos.verdict import Problem, Verdict

EXTRACTION = ExtractFacts(
    compression="zstd",
    layout="root",
    stored_bytes=100,
    stream_bytes=1000,
    members=3,
    files=2,
    bytes=500,
    seconds=0.1,
    complete=True,
    volumes=("vol",),
    owners_restored=True,
    problems=(),
    problem_counts=(),
)
GOOD = VolumeFacts(
    name="vol",
    archive="vol.tar.zst",
    restored=True,
    has_entries=True,
    compared=True,
    seconds=0.1,
    verify_seconds=0.1,
    bytes=500,
    files=2,
    differences=(),
    problems=(),
    owners_checked="disk",
    modes_checked="disk",
    xattrs_checked="disk",
    extraction=EXTRACTION,
)
REFERENCE = ReferenceFacts(rule="attachments", volume="vol", checked=10, missing=0, refused=0, examples=())
RULE = FileReference(name="attachments", database="odoo", sql="SELECT 1", volume="vol")


def judged(
    *facts: VolumeFacts, required: tuple[str, ...] = ("vol",), rules: tuple[FileReference, ...] = ()
) -> dict[str, Verdict]:
    """Return the findings' codes with their verdicts."""
    return {item.code: item.verdict for item in judge_volumes(required, facts, rules).findings}


def differing(kind: DifferenceKind, count: int = 1) -> VolumeFacts:
    return replace(
        GOOD, differences=(EntryDifference(kind, count, (EntryExample("0123456789ab", "detail"),)),)
    )


def test_a_volume_that_is_equal_passes_without_a_finding() -> None:
    assert judged(GOOD) == {}
    assert judge_volumes(("vol",), (GOOD,)).verdict is Verdict.PASS


def test_a_declared_volume_that_is_in_no_set_fails() -> None:
    assert judged(GOOD, required=("vol", "other")) == {"volume-missing": Verdict.FAIL}
    assert judged(required=("vol",)) == {"volume-missing": Verdict.FAIL}


def test_a_volume_that_is_not_declared_is_not_required() -> None:
    assert judged(replace(GOOD, name="extra", has_entries=False, compared=False), GOOD) == {}


def test_a_volume_of_which_the_archive_holds_nothing_fails() -> None:
    assert judged(replace(GOOD, restored=False, compared=False)) == {"volume-missing": Verdict.FAIL}


def test_a_restore_without_a_list_proves_nothing() -> None:
    assert judged(replace(GOOD, has_entries=False, compared=False)) == {"no-manifest": Verdict.NOT_PROVEN}


def test_a_comparison_that_was_not_made_proves_nothing() -> None:
    assert judged(replace(GOOD, compared=False)) == {"volume-not-compared": Verdict.NOT_PROVEN}


@pytest.mark.parametrize("kind", list(DifferenceKind))
def test_every_difference_has_words_and_only_times_are_information(kind: DifferenceKind) -> None:
    (finding,) = judge_volumes(("vol",), (differing(kind),)).findings
    unproven = {DifferenceKind.DEVICE, DifferenceKind.TORN}
    expected = (
        Verdict.PASS
        if kind is DifferenceKind.MTIME
        else Verdict.NOT_PROVEN
        if kind in unproven
        else Verdict.FAIL
    )
    assert finding.verdict is expected
    assert finding.code == DIFFERENCES[kind].code
    assert "0123456789ab" in finding.message
    assert finding.remedy or kind is DifferenceKind.MTIME


@pytest.mark.parametrize("code", list(PROBLEMS))
def test_every_problem_has_words_and_is_never_green(code: str) -> None:
    facts = replace(GOOD, problems=(Problem(code, "where it is"),))
    (finding,) = judge_volumes(("vol",), (facts,)).findings
    assert finding.verdict in {Verdict.FAIL, Verdict.NOT_PROVEN}
    assert finding.remedy
    assert "where it is" in finding.message


def test_a_problem_that_no_rule_knows_is_not_green() -> None:
    assert judged(replace(GOOD, problems=(Problem("brand-new", "x"),))) == {
        "volume-problem": Verdict.NOT_PROVEN
    }


def test_differences_after_a_gap_of_the_sandbox_are_not_blamed_on_the_backup() -> None:
    facts = replace(differing(DifferenceKind.MISSING, 7), problems=(Problem("sandbox-disk-full", "x"),))
    assert judged(facts) == {"sandbox-disk-full": Verdict.NOT_PROVEN, "entry-missing": Verdict.NOT_PROVEN}


def test_differences_beside_damage_stay_failures() -> None:
    facts = replace(differing(DifferenceKind.MISSING, 7), problems=(Problem("tar-truncated", "x"),))
    assert judged(facts) == {"volume-archive-corrupt": Verdict.FAIL, "entry-missing": Verdict.FAIL}


def test_owners_that_were_compared_in_the_archive_only_are_said_to_be_so() -> None:
    facts = replace(GOOD, owners_checked="archive", xattrs_checked="archive")
    assert judged(facts) == {
        "owners-from-archive": Verdict.PASS,
        "extended-attributes-from-archive": Verdict.PASS,
    }


def test_a_rule_that_holds_passes_and_one_that_was_not_checked_does_not() -> None:
    assert judged(replace(GOOD, references=(REFERENCE,)), rules=(RULE,)) == {}
    assert judged(GOOD, rules=(RULE,)) == {"reference-not-checked": Verdict.NOT_PROVEN}


@pytest.mark.parametrize(
    ("change", "code", "verdict"),
    [
        ({"missing": 3}, "reference-missing-file", Verdict.FAIL),
        ({"refused": 1}, "reference-refused", Verdict.FAIL),
        ({"checked": 0}, "reference-empty", Verdict.NOT_PROVEN),
        ({"unreadable": "no database"}, "reference-not-checked", Verdict.NOT_PROVEN),
    ],
    ids=["missing", "refused", "empty", "unreadable"],
)
def test_a_rule_that_does_not_hold_is_found(change: dict[str, object], code: str, verdict: Verdict) -> None:
    facts = replace(GOOD, references=(replace(REFERENCE, **change),))  # type: ignore[arg-type]  # a test's shorthand
    assert judged(facts, rules=(RULE,)) == {code: verdict}


def test_the_facts_for_an_auditor_say_what_was_compared() -> None:
    facts = judge_volumes(("vol",), (differing(DifferenceKind.MTIME, 4),)).facts
    (volume,) = facts["volumes"]
    assert volume["compared_with"] == "list of entries"
    assert (volume["differences"], volume["other_times"]) == ({}, 4)
