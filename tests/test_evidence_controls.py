"""The mapping of controls and the coverage table: data, and a pure function."""

from datetime import date
from pathlib import Path

import pytest

from smos.checks import registry
from smos.errors import SmosError
from smos.evidence.controls import FILE, controls, load
from smos.evidence.coverage import State, coverage
from smos.evidence.summary import summary_markdown
from smos.evidence.waivers import Waiver
from smos.verdict import Verdict
from tests.test_evidence import ALL, WAIVER, info, outcome


def test_every_recovery_check_is_evidence_for_a_control_and_every_row_belongs_to_a_registered_check() -> None:
    mapped = {row.check for row in controls().mappings}
    assert set(ALL) <= mapped
    assert [check_id for check_id in mapped if not registry.is_known(check_id)] == []


def test_no_control_is_left_over_and_each_has_its_framework_with_an_address() -> None:
    data = controls()
    for control in data.controls:
        assert data.checks_of(control), control
        framework = data.framework(control)
        assert framework is not None
        assert framework.url.startswith("https://")


def test_every_reason_and_limit_is_one_sentence_in_both_languages() -> None:
    for row in controls().mappings:
        for text in (row.why.en, row.why.es, row.limits.en, row.limits.es):
            assert text.endswith(".")
            assert text.count(". ") == 0
        assert row.why.en != row.why.es


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("schema: 1", "schema: 2"), "schema"),
        (("check: DR-01", "check: dr1"), "check"),
        (("[SOC 2 A1.2, ISO 27001 A.8.13, NIST CP-9, DORA", "[SOC 3 A1.2, DORA"), "no title"),
        (
            ("controls:\n  SOC 2 A1.2:", "controls:\n  XYZ 1:\n    en: a\n    es: b\n  SOC 2 A1.2:"),
            "none of the frameworks",
        ),
        (
            ("GDPR Art. 32(1)(c), GDPR Art. 32(1)(d), DORA", "GDPR Art. 32(1)(c), GDPR Art. 32(1)(c), DORA"),
            "twice",
        ),
        (("    limits:\n", "    not_shown:\n"), "limits"),
        (("mappings:", "mappings: ["), "can't be used"),
    ],
)
def test_a_damaged_mapping_is_refused_with_the_entry(
    tmp_path: Path, change: tuple[str, str], why: str
) -> None:
    text = FILE.read_text(encoding="utf-8")
    assert change[0] in text
    path = tmp_path / "controls.yml"
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(SmosError, match=why):
        load(path)


def test_a_self_test_covers_no_control() -> None:
    assert coverage(info("self-test"), outcome()) == ()
    assert "Evidence for controls" not in summary_markdown(info("self-test"), outcome(), None)


def test_a_control_is_as_covered_as_its_worst_check() -> None:
    seen = outcome(
        {"DR-03": Verdict.FAIL, "DR-04": Verdict.ERROR, "DR-06": Verdict.NOT_PROVEN}, without=("DR-05",)
    )
    rows = {row.control: row for row in coverage(info("production"), seen)}
    assert rows["SOC 2 A1.3"].state is State.FAILED
    assert rows["SOC 2 A1.3"].failed == ("DR-03",)
    assert rows["SOC 2 A1.3"].harness_error == ("DR-04",)
    assert rows["SOC 2 A1.3"].not_proven == ("DR-05", "DR-06")
    assert rows["SOC 2 A1.3"].passed == ("DR-07",)
    assert "DR-05" in rows["SOC 2 A1.3"].required
    assert "DR-05" not in rows["SOC 2 A1.3"].executed
    assert rows["SOC 2 A1.3"].valid_until is None
    assert rows["ISO 27001 A.8.24"].state is State.NOT_PROVEN
    assert rows["SOC 2 A1.2"].state is State.PROVEN
    assert rows["SOC 2 A1.2"].valid_until == date(2027, 2, 23)


def test_a_waived_check_is_no_proof_and_shortens_the_validity() -> None:
    waiver = Waiver("DR-08", "migration", "ana.perez", date(2026, 12, 1))
    rows = {
        row.control: row
        for row in coverage(info("production"), outcome({"DR-08": Verdict.FAIL}, waivers=(waiver,)))
    }
    row = rows["NIST CP-9"]
    assert (row.state, row.passed, row.waived) == (State.WAIVED, ("DR-01",), ("DR-08",))
    assert row.valid_until == date(2026, 12, 1)


def test_checks_of_other_suites_are_named_as_not_part_of_the_run() -> None:
    seen = outcome()
    partial = type(seen)(checks=seen.checks[:1], missing=(), verdict=seen.verdict)
    rows = {row.control: row for row in coverage(info("production"), partial)}
    assert "DR-08" in rows["SOC 2 A1.2"].elsewhere
    assert "ISO 27001 A.8.24" not in rows


def test_the_summary_shows_the_table_of_controls() -> None:
    text = summary_markdown(info("production"), outcome({"DR-08": Verdict.FAIL}, waivers=(WAIVER,)), None)
    assert "| NIST CP-9 | ⏸ waived | 2 | 2 | 1 | 0 | 0 | 1 | 0 | 2026-11-23 |" in text
    assert "| NIST CP-10 | ✅ proven | 5 | 5 | 5 | 0 | 0 | 0 | 0 | 2027-02-23 |" in text


def test_every_check_has_a_spanish_title_of_its_own() -> None:
    from smos.evidence.texts import TITLES_ES

    assert set(TITLES_ES) == {check.id for check in registry.CHECKS}
    assert len(set(TITLES_ES.values())) == len(TITLES_ES)
    assert [check.id for check in registry.CHECKS if TITLES_ES[check.id] == check.title] == []
