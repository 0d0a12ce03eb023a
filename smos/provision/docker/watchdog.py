"""The watchdog of one owner's containers: removes them when the runner has died, however it died.

Started as `python -I -S watchdog.py` in a session of its own, with the read end of a pipe as its standard input; the
runner holds the only other end. The pipe's end is the runner's: a SIGKILL, an out-of-memory kill and `os._exit` close
it as an orderly exit does, and `atexit` is not needed. After an orderly end there is nothing left to remove.

The guard of the same owner (smos/provision/guard.py) removes its directories meanwhile; what containers still wrote
into them then is removed here, when they have ended.
"""

import contextlib
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

TICK_S = 1.0
"""How often the runner's pid is looked at beside the pipe, whose other end a forked child may hold."""
SECOND_LOOK_S = 0.5
"""A request that the runner made just before it died may still be on its way through the engine."""
GUARD_S = 30.0
"""Seconds in which the guard ends its own work."""


def has_died(pipe: int, pid: int) -> bool:
    """Return when the runner is done with it: False when it said so, True when it ended without a word."""
    while True:
        ready, _, _ = select.select([pipe], [], [], TICK_S)
        if ready:
            return not os.read(pipe, 1)
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):  # gone; or another user's, so the pid was given away
            return True


def clean(config: dict[str, Any]) -> None:
    """Remove the owner's containers, networks and volumes, then the directories that the guard could not remove."""
    from smos.errors import DeadlineError, SmosError
    from smos.provision.docker.removal import EngineSocket, remove_owned
    from smos.provision.reaper import reap
    from smos.wait import wait_for

    engine = EngineSocket(Path(config["socket"]))
    with contextlib.suppress(SmosError):  # what can't be removed now, the next run's reaper removes
        remove_owned(engine, config["owner"])
        select.select([], [], [], SECOND_LOOK_S)
        remove_owned(engine, config["owner"])
    registry = Path(config["registry"])
    record = registry / f"{config['owner']}.json"

    def gone() -> bool:
        if record.exists():
            reap(registry)  # takes only what no living guard holds
        return not record.exists()

    with contextlib.suppress(DeadlineError):
        wait_for(gone, what="the directories are gone", deadline_s=GUARD_S)


def main() -> None:
    """Watch the runner that the configuration names."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C is for the runner; this ends with it
    config = json.loads(sys.argv[1])
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    if has_died(0, int(config["pid"])):
        clean(config)


if __name__ == "__main__":
    main()
