"""Plain text does not stay in the staging directory: of a run that ended, nor of one that was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from smos.backup.stagingdir import PREFIX, remove_left, staging_directory
from smos.wait import wait_for

HOLDER = """
import sys, threading
from pathlib import Path
from smos.backup.stagingdir import staging_directory
with staging_directory(Path(sys.argv[1])) as stage:
    (stage / "plain.sql").write_text("a row")
    threading.Event().wait(600)
"""


def held(base: Path) -> subprocess.Popen:
    before = set(base.iterdir())
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(base)])

    def staged() -> bool:
        return any(path.parent not in before for path in base.glob(f"{PREFIX}*/plain.sql"))

    wait_for(staged, what="the other run stages", deadline_s=120)
    return process


def test_it_is_private_and_gone_at_the_end_also_after_an_error(tmp_path: Path) -> None:
    with staging_directory(tmp_path) as stage:
        assert stage.stat().st_mode & 0o777 == 0o700
        (stage / "databases").mkdir()
    with pytest.raises(FileNotFoundError), staging_directory(tmp_path) as stage:
        (stage / "missing").read_text()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next_and_a_living_run_keeps_its_own(tmp_path: Path) -> None:
    killed, living = held(tmp_path), None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    try:
        living = held(tmp_path)
        assert not left[0].exists()
        with staging_directory(tmp_path) as stage:
            assert {path.name for path in tmp_path.iterdir()} > {stage.name}
        assert [path.name for path in tmp_path.glob("*/*")] == ["plain.sql"]
    finally:
        if living is not None:
            living.kill()
            living.wait()
    assert remove_left(tmp_path) != ()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / "keep").write_text("x")
    (tmp_path / f"{PREFIX}link").symlink_to(other)
    (tmp_path / f"{PREFIX}file").write_text("x")
    os.mkfifo(tmp_path / f"{PREFIX}fifo")
    shared = tmp_path / f"{PREFIX}shared"
    shared.mkdir()
    shared.chmod(0o755)
    assert remove_left(tmp_path) == ()
    assert (other / "keep").exists()
    assert shared.exists()
