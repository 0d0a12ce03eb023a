"""A command of a test is answered for itself: what was not waited for is nobody else's answer."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests import _forked
from tests._forked import run_smos

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="nothing is forked here")


class CutOffError(Exception):
    """What a limit of pytest raises in the midst of a test."""


def test_a_command_that_was_not_waited_for_leaves_the_next_one_its_own_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"PATH": os.defpath, "HOME": str(tmp_path), "SMOS_HOME": str(tmp_path)}
    read, asked = _forked._exactly, []

    def once(connection: socket.socket, size: int) -> bytes:
        asked.append(size)
        if len(asked) == 2:  # it runs, and its exit code is still to come
            raise CutOffError
        return read(connection, size)

    with monkeypatch.context() as patched:
        patched.setattr(_forked, "_exactly", once)
        with pytest.raises(CutOffError):
            run_smos(["config", "no-such-word"], env=env)
    done = run_smos(["config", "path"], env=env)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "config.yml"))
    with pytest.raises(subprocess.TimeoutExpired):
        run_smos(["config", "no-such-word"], env=env, timeout=0.001)
    assert run_smos(["config", "path"], env=env).returncode == 0
