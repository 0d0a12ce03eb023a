"""What a directory of backups holds never configures pytest."""

import subprocess
import sys
from pathlib import Path

import pytest

from smos.pytest_arguments import join_arguments

ROOT = Path(__file__).resolve().parent.parent


def test_pairs_are_joined_and_everything_else_stays() -> None:
    arguments = ["pytest", "-m", "dr", "--backups", "/b", "--reports=r", "-k", "x", "--target"]
    join_arguments(arguments)
    assert arguments == ["pytest", "-m", "dr", "--backups=/b", "--reports=r", "-k", "x", "--target"]


@pytest.mark.parametrize("option", ["--backups", "--reports"])
def test_a_pytest_ini_in_the_directory_is_not_obeyed(tmp_path: Path, option: str) -> None:
    canary = tmp_path / "it-ran"
    untrusted = tmp_path / "backups"
    untrusted.mkdir()
    (untrusted / "pytest.ini").write_text("[pytest]\naddopts = -p hostile\npythonpath = .\n")
    (untrusted / "hostile.py").write_text(f"open({str(canary)!r}, 'w').close()")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "dr", "--collect-only", "-q", option, str(untrusted)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "test_every_artifact_is_complete_and_unaltered" in done.stdout, done.stderr
    assert not canary.exists()
