"""A worker ends with its controller, however that ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from smos.provision.guard import process_start
from smos.wait import wait_for

ROOT = Path(__file__).resolve().parent.parent
ENDED_S = 60.0
"""execnet alone takes five seconds at least."""
STUCK = """
import os, threading
from pathlib import Path

def test_that_never_returns():
    Path("pid.new").write_text(str(os.getpid()))
    Path("pid.new").rename("pid")
    threading.Event().wait(600)
"""


def test_a_worker_in_the_midst_of_a_test_ends_soon_after_its_controller_was_killed(tmp_path: Path) -> None:
    (tmp_path / "test_stuck.py").write_text(STUCK)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n1",
        "-q",
        "-p",
        "fixtures.orphans",
        "-p",
        "no:cacheprovider",
    ]
    controller = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for((tmp_path / "pid").exists, what="the worker is in its test", deadline_s=240)
    finally:
        controller.send_signal(signal.SIGKILL)
        controller.wait()
    killed = time.monotonic()
    worker = int((tmp_path / "pid").read_text())
    wait_for(lambda: not process_start(worker), what="the worker ended", deadline_s=120)
    assert time.monotonic() - killed < ENDED_S
