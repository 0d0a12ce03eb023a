"""The detection matrix: rows survive a killed worker, what never ended is not detected, the summary is not doubled."""

import json
from pathlib import Path

from smos.evidence import detection
from smos.evidence.detection import Detection, Pristine


def row(id_: str, check: str, *, detected: bool = True, variant: str = "as-is") -> Detection:
    return Detection(
        id=id_, title=f"title of {id_} | <b>", breaks="dump", variant=variant, check=check, expected="FAIL x",
        detected=detected, verdict="FAIL", codes=("x",), reason="" if detected else "DR-03 says PASS", seconds=0.5,
    )  # fmt: skip


def test_rows_of_all_workers_come_back_in_the_catalogues_order(tmp_path: Path) -> None:
    detection.append(tmp_path, "gw1", row("F22a", "DR-03"))
    detection.append(tmp_path, "gw0", row("F01a", "DR-01"))
    detection.append(tmp_path, "gw0", Pristine(check="DR-03", alarm=False, codes=(), seconds=1.0))
    found, pristine = detection.read(tmp_path)
    assert [item.id for item in found] == ["F01a", "F22a"]
    assert [item.check for item in pristine] == ["DR-03"]


def test_the_file_says_n_of_n_by_suite_and_counts_what_never_ended(tmp_path: Path) -> None:
    rows = [row("F01a", "DR-01"), row("F22a", "DR-03", detected=False)]
    data = detection.as_json(rows, [Pristine(check="DR-01", alarm=True, codes=("x",), seconds=1.0)], 3)
    assert (data["detected"], data["total"]) == (1, 3)
    assert data["per_suite"] == {"dr": {"detected": 1, "total": 2}}
    assert data["pristine"] == {"runs": 1, "false_alarms": 1}
    assert json.loads(json.dumps(data)) == data


def test_the_section_of_the_summary_is_replaced_and_the_rest_is_kept(tmp_path: Path) -> None:
    summary = tmp_path / detection.SUMMARY_NAME
    summary.write_text("# PASS\n\nkept\n", encoding="utf-8")
    for number in range(2):
        detection.write(tmp_path, [row("F01a", "DR-01", detected=bool(number))], [], 1, tmp_path / "step.md")
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("# PASS\n\nkept\n")
    assert text.count("Every check is seen to fail") == 1
    assert "1 of 1 detected" in text
    assert (tmp_path / "step.md").read_text(encoding="utf-8").count("Every check is seen to fail") == 2


def test_a_miss_is_named_with_its_reason_and_page_and_table_hold_no_markup_of_titles() -> None:
    rows = [row("F22a", "DR-03", detected=False)]
    assert "F22a, as-is, DR-03: DR-03 says PASS" in detection.markdown(rows, [], 1)
    assert "<b>" not in detection.html(rows, [], 1)
    assert "0 of 1 detected" in detection.html(rows, [], 1)
