"""The registry of faults is whole: no check without a fault, no number of the catalogue left out, no invented code."""

import ast
import re
from pathlib import Path

import pytest

from smos.checks.registry import CHECKS
from smos.faults import registry
from smos.faults.registry import Expectation, Variant, cases, caught, fault, faults, mismatch
from smos.verdict import Judgement, Verdict, fail, not_proven

CATALOGUE = (
    *range(1, 18),  # backup sets and bytes
    *range(20, 33),  # databases, logical
    *range(40, 47),  # databases, physical
    *range(50, 57),  # volumes
    *range(60, 64),  # Vault
    *range(70, 77),  # services, objectives, failover, harness
)  # fmt: skip
"""Section A of the catalogue."""
CHECKOUT = Path(__file__).resolve().parent.parent
CODES = (
    "smos/checks",
    "smos/drill",
    "smos/backup",
    "smos/postgres",
    "smos/vault",
    "smos/evidence",
    "smos/live",
    "smos/rls",
    "smos/physical",
    "fixtures",
)
"""Where findings and problems get their codes."""


def test_every_check_has_a_fault_that_it_must_catch() -> None:
    caught_by = {check for item in faults() for check in item.checks}
    assert {check.id for check in CHECKS} - caught_by == set()


def test_every_fault_lies_in_the_folder_of_its_suite() -> None:
    assert [item.id for item in faults() if item.inject.__module__.split(".")[2] != item.suite] == []


def test_every_number_of_the_catalogue_is_registered() -> None:
    numbers = {item.number for item in faults()}
    assert set(CATALOGUE) - numbers == set()


def test_every_check_is_seen_to_fail_and_not_only_to_be_unproven() -> None:
    failing = {case.expectation.check for case in cases() if case.expectation.verdict is Verdict.FAIL}
    assert failing == {check.id for check in CHECKS}


def test_every_expected_code_is_one_that_the_checks_can_give() -> None:
    words = {
        node.value
        for folder in CODES
        for path in (CHECKOUT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    made = {f"{kind}-{end}" for kind in words for end in ("missing", "extra", "differs", "lost")}
    made |= {f"vault-{word}" for word in words}
    for case in cases():
        for code in case.expectation.codes:
            assert code in words or code in made, f"{case.id}: {code}"


def test_the_documentation_lists_every_fault() -> None:
    text = (CHECKOUT / "docs" / "faults.md").read_text(encoding="utf-8")
    missing = [item.id for item in faults() if f"| {item.id} | {item.title} |" not in text]
    assert missing == [], "run: python -m smos.faults > docs/faults.md"


def test_names_of_cases_are_unique_and_stable() -> None:
    names = [case.id for case in cases()]
    assert len(set(names)) == len(names)
    assert all(
        re.fullmatch(r"F\d{2,3}[a-z]?-(as-is|rehashed|without-manifest)-[A-Z]+-\d\d", name) for name in names
    )
    assert names == [case.id for case in cases()]


def test_every_content_fault_runs_with_hashes_that_fit_and_without_a_manifest() -> None:
    for item in faults():
        if item.breaks != "dump" or item.id.startswith(("F12", "F13", "F31", "F32")):
            continue  # plain dumps have no manifest; F31 is a gap of the sandbox
        variants = {expectation.variant for expectation in item.expected}
        assert variants == set(Variant), item.id


EXPECTED = caught("DR-03", ("table-missing",), "attachments")


@pytest.mark.parametrize(
    ("judgement", "words"),
    [
        (Judgement(()), "says PASS, expected FAIL"),
        (Judgement((not_proven("table-missing", "attachments", ""),)), "says NOT_PROVEN"),
        (Judgement((fail("rows-missing", "attachments", ""),)), "says rows-missing, expected one of"),
        (Judgement((fail("table-missing", "orders", ""),)), "no such finding mentions attachments"),
        (
            Judgement((not_proven("table-missing", "attachments", ""), fail("rows-missing", "x", ""))),
            "expected one of",
        ),
    ],
)
def test_a_fault_counts_as_detected_only_for_the_right_reason(judgement: Judgement, words: str) -> None:
    assert words in mismatch(EXPECTED, judgement)


def test_a_fault_that_is_named_by_the_right_finding_counts() -> None:
    findings = (fail("rows-missing", "x", ""), fail("table-missing", "chatwoot: public.attachments", ""))
    assert mismatch(EXPECTED, Judgement(findings)) == ""


@pytest.mark.parametrize("id_", ["F01a", "22", "F1", "F22ab"])
def test_a_fault_with_a_taken_or_malformed_id_is_refused(id_: str) -> None:
    faults()
    with pytest.raises(ValueError, match=id_):
        fault(id_, "title", "breaks", EXPECTED)


def test_a_fault_that_nothing_catches_is_refused() -> None:
    with pytest.raises(ValueError, match="F99"):
        fault("F99", "title", "breaks")
    with pytest.raises(ValueError, match="two expectations"):
        fault("F99", "title", "breaks", EXPECTED, EXPECTED)
    assert isinstance(EXPECTED, Expectation)
    assert "F99" not in registry._FAULTS
