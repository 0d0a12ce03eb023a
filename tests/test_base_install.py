"""What `make dr` installs is enough to collect everything: no suite needs an extra before one of its tests runs."""

import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from smos.checks.registry import SUITES

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import sys, importlib.abc
BLOCKED = set(sys.argv[1].split(","))
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r} (it is in an extra)", name=name)
sys.meta_path.insert(0, Blocker())
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""


def closure(roots: set[str]) -> set[str]:
    """Return the distributions that these need, as the lock file says, themselves included."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    needs = {item["name"]: {one["name"] for one in item.get("dependencies", ())} for item in lock["package"]}
    found, rest = set(), set(roots)
    while rest:
        name = rest.pop()
        if name not in found:
            found.add(name)
            rest |= needs.get(name, set())
    return found


@cache
def modules_of_extras() -> set[str]:
    """Return the top-level modules that only an extra installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = closure({canonicalize_name(Requirement(text).name) for text in project["dependencies"]})
    return {
        module
        for module, owners in packages_distributions().items()
        if module.isidentifier()
        and not {canonicalize_name(owner) for owner in owners} & (base | {"smarteros-verify"})
    } - {"pip", "setuptools", "uv", "pkg_resources", "_distutils_hack"}


def collect(blocked: set[str], *words: str) -> "subprocess.CompletedProcess[str]":
    """Let pytest collect where these modules can't be imported."""
    options = ("-p", "no:hypothesispytest", "--collect-only", "-q")
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(sorted(blocked)), *options, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_every_suite_is_collected_without_any_extra() -> None:
    """One run over all of them, negative controls included: what one imports is still missing for the next."""
    blocked = modules_of_extras()
    assert {"hypothesis", "slack_sdk"} <= blocked
    done = collect(blocked, "suites")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "error" not in done.stdout.lower().splitlines()[-1], done.stdout[-3000:]
    found = {line.rpartition("/")[0] for line in done.stdout.splitlines() if "::" in line}
    # A self-test on embedded servers does not require these two; they were imported before they were deselected.
    assert {f"suites/{name}" for name in SUITES} - found <= {"suites/rls", "suites/containers"}
    assert {f"suites/{name}/negative" for name in SUITES} - found <= {"suites/containers/negative"}


def test_the_suite_of_a_named_database_is_collected_without_any_extra() -> None:
    done = collect(modules_of_extras(), "-m", "rls", "--dsn=host=/nowhere")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
