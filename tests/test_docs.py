"""The documents say what the code does: every code of a finding is explained, every link leads somewhere."""

import re
from pathlib import Path

import pytest

from smos.checks.dr import content, restore
from smos.config.keys import KEYS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def test_every_code_of_a_database_finding_is_documented() -> None:
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    codes = {*content.REMEDIES, *restore.REMEDIES, *restore.FAILURES, *restore.NOTES}
    assert sorted(code for code in codes if f"`{code}`" not in text) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


def test_every_key_of_the_configuration_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in KEYS if f"| `{name}` |" not in text] == []
