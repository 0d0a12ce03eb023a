"""`smos drill`: the drill from the shell, wherever one stands."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from smos.paths import suites_dir
from tests._forked import run_smos

ROOT = Path(__file__).resolve().parent.parent
SMOS = Path(sys.executable).with_name("smos")


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("SMOS_", "PYTEST_"))}


def smos(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return run_smos(["drill", *args], env=environment(), cwd=place, timeout=280)


def test_backups_of_other_tools_are_drilled_from_another_directory(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --nosuchoption\n")  # configures nothing of ours
    done = subprocess.run(
        [SMOS, "drill", "--backups", "backups", "--json"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode in {1, 10}, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["verdict"] in {"FAIL", "NOT_PROVEN"}
    assert (tmp_path / "reports" / "verdict.json").is_file()
    assert "DR-01" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--target", "nosuch.yml"), "nosuch.yml"),
        (("--provision", "magic"), "Unknown provisioner"),
        (("--nosuch",), "No such option"),
    ],
)
def test_wrong_usage_ends_with_2(tmp_path: Path, args: tuple[str, ...], words: str) -> None:
    done = smos(tmp_path, *args)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr


def test_a_target_in_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "smos.yml").write_text("schema: 1\nname: mine\nunknown: 1\n")
    done = smos(tmp_path, "--json")
    assert done.returncode == 2
    assert "unknown" in done.stderr
    assert json.loads(done.stdout)["error"]


def test_a_wheel_carries_the_suites_the_stacks_and_the_settings_of_pytest(tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [uv, "build", "--wheel", "--quiet", "--out-dir", tmp_path, ROOT],
        check=True,
        timeout=200,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "smos/_suites/conftest.py",
        "smos/_suites/pyproject.toml",
        "smos/_suites/suites/dr/test_03_postgres_restore.py",
        "smos/_suites/fixtures/controller.py",
        "smos/_compose/selftest/target.yml",
    } <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "reports/"))]
    assert suites_dir() == ROOT
