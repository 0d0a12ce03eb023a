"""What `-m` rules out by folder is what its marker expression deselects: nothing else, and no suite is imported."""

import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

from fixtures.selection import NEGATIVE, rules_out
from smos.checks.registry import SUITES

ROOT = Path(__file__).resolve().parent.parent
COLLECTED = """
import sys
import pytest

class Marks:
    def pytest_itemcollected(self, item):
        print("ITEM", item.path.parent.relative_to(item.config.rootpath / "suites"), *{m.name for m in item.iter_markers()})

code = pytest.main([*sys.argv[1:], "--collect-only", "-q", "-s"], plugins=[Marks()])
print("IMPORTED", *(name for name in sys.modules if name.startswith(("smos.faults.", "hypothesis"))))
sys.exit(code)
"""


def collect(*args: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED, *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in {0, 5}, done.stdout + done.stderr
    return [line.split() for line in done.stdout.splitlines() if line.startswith(("ITEM", "IMPORTED"))]


@pytest.fixture(scope="module")
def everything() -> set[tuple[tuple[str, ...], frozenset[str]]]:
    """Folders and marks of all tests that there are."""
    return {
        (tuple(words[1].split("/")), frozenset(words[2:]))
        for words in collect("suites")
        if words[0] == "ITEM"
    }


EXPRESSIONS = (
    *SUITES,
    "dr or vault",
    "not dr",
    "not slow",
    "dr and not slow",
    "(dr or vault or demo) and not negative or containers",
    "dr and negative",
    "negative",
    "negative and vault",
    "",
)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_nothing_that_an_expression_selects_lies_in_a_folder_that_it_rules_out(
    everything: set[tuple[tuple[str, ...], frozenset[str]]], expression: str
) -> None:
    lost = []
    for folder, marks in everything:
        ruled_out = any(rules_out(expression, folder[: end + 1]) for end in range(len(folder)))
        left_out = (
            NEGATIVE in marks and NEGATIVE not in expression and any(name in expression for name in SUITES)
        )
        selected = not expression or Expression.compile(expression).evaluate(
            lambda name, /, marks=marks, **_: name in marks
        )
        if ruled_out and selected and not left_out:
            lost.append((folder, marks))
    assert lost == []
    assert len({folder[0] for folder, _ in everything}) == len(SUITES)


def test_a_suite_that_is_asked_for_alone_imports_no_other_one_and_no_fault() -> None:
    (*items, imported) = collect("-m", "dr")
    assert {words[1] for words in items} == {"dr"}
    assert len(items) == 8
    assert set(imported) == {"IMPORTED", "smos.faults.registry"}


def test_a_folder_that_is_named_is_collected_whatever_the_expression_says() -> None:
    assert any(
        words[1:2] == ["rls/negative"] for words in collect("-m", "rls", "suites/rls/negative", "suites/rls")
    )


def test_an_expression_with_many_unknown_names_rules_nothing_out() -> None:
    assert not rules_out("dr and (a or b or c or d or e or f or g)", ("vault",))
    assert rules_out("dr and (a or b)", ("vault",))
    assert not rules_out("dr and (a or b)", ("dr",))
