"""A stand-in for the drill, for runs inside pytester: replaces the two functions that the harness calls.

Loaded with `-p tests._fake_drill` in the controller and in every worker. `FAKE_DRILL` chooses what happens.
"""

import os
import sys
import types
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from pydantic import TypeAdapter

from smos.drill.phases import PhaseClock, Timing
from smos.errors import ProvisionError

SECRET = "hvs.CAESIJcanarycanarycanarycanary"
_TIMING = TypeAdapter(Timing)


def run_drill(settings: object, run_dir: Path, reporter: Callable[[str], None]) -> None:
    with Path(os.environ["FAKE_DRILL_LOG"]).open("a", encoding="utf-8") as log:
        log.write(f"{os.getpid()}\n")
    mode = os.environ.get("FAKE_DRILL", "ok")
    clock = PhaseClock()
    for name in ("detect", "restore", "ready"):
        with clock.phase(name):
            reporter(f"phase {name}")
    clock.exclude("decrypt", "the backups are not encrypted")
    if mode == "smos-error":
        raise ProvisionError(
            f"no sandbox could be started, token={SECRET}",
            remedy="free some memory",
            log="FATAL: out of memory",
        )
    if mode == "bug":
        raise RuntimeError("a bug in the drill")
    if mode == "ctrl-c":
        raise KeyboardInterrupt
    timing = Timing(
        phases=clock.facts(),
        rto_actual_s=12.5,
        verify_s=1.5,
        rpo_actual_s=3600.0,
        rpo_basis="heartbeat",
        data_bytes=123456,
    )
    (run_dir / "drill.json").write_bytes(_TIMING.dump_json(timing))


def load(path: Path) -> SimpleNamespace:
    data = path.read_bytes()
    return SimpleNamespace(
        run_id=os.environ.get("FAKE_RUN_ID", "fakerun00001"),
        scope=os.environ.get("FAKE_SCOPE", "self-test"),
        target_name="fake target",
        provision="embedded",
        provision_reason="asked for",
        sandbox="network-namespace",
        started=datetime(2026, 10, 1, 6, 0, tzinfo=UTC),
        chosen_set="smos-20261001_020000",
        sets=(),
        timing=_TIMING.validate_json(data),
    )


def _install() -> None:
    """Take the place of the two modules, whose imports would make every run of these tests slow."""
    run = types.ModuleType("smos.drill.run")
    run.run_drill = run_drill
    record = types.ModuleType("smos.drill.record")
    record.load = load
    sys.modules |= {"smos.drill.run": run, "smos.drill.record": record}


_install()
