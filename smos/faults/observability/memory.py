"""F326 to F330: a collector without a limit, with a useless one, one that dies, one that loses."""

import contextlib
import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any

from smos.faults.observability.proxy import Act, Insert, proxy
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault
from smos.observability.verify.memory import Squeeze

CHECK = "OBS-04"
ROOM = 40 * 2**20


@fault(
    "F326",
    "The memory limiter is in no pipeline",
    "collector",
    caught(CHECK, "memory-not-limited", "none refused"),
)
def no_limiter(work: ObservabilityWork) -> None:
    """Take it out."""

    def configure(given: dict[str, Any]) -> None:
        for pipeline in given["service"]["pipelines"].values():
            pipeline["processors"] = []

    work.private(configure=configure)


@fault("F327", "The memory limit is above the machine's", "collector", caught(CHECK, "memory-not-limited"))
def useless_limit(work: ObservabilityWork) -> None:
    """Set it to 16 GiB."""
    work.private(environment={"OTELCOL_MEMORY_LIMIT_MIB": "16384"})


@fault(
    "F328",
    "The memory limit is below what it needs when idle",
    "collector",
    caught(CHECK, "memory-always-refuses"),
)
def tiny_limit(work: ObservabilityWork) -> None:
    """Leave it some MiB."""
    work.private(environment={"OTELCOL_MEMORY_LIMIT_MIB": "4", "OTELCOL_MEMORY_SPIKE_MIB": "2"})


@fault(
    "F329",
    "The collector is killed for want of memory",
    "collector",
    caught(CHECK, "memory-process-died", "died"),
)
def out_of_memory(work: ObservabilityWork) -> None:
    """Take the limiter out and do what the kernel does: kill it when it takes more than the container has."""
    no_limiter(work)
    ended = threading.Event()

    def resident(pid: int) -> int:
        statm = Path(f"/proc/{pid}/statm")
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()

    def watch(pid: int, most: int) -> None:
        while not ended.wait(0.02):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                if resident(pid) > most:
                    os.kill(pid, signal.SIGKILL)
                    return

    def pressed(pid: int) -> None:
        thread = threading.Thread(target=watch, args=(pid, resident(pid) + ROOM))
        thread.start()
        work.undo.callback(thread.join)
        work.undo.callback(ended.set)

    work.lab = work.lab.but(options=Squeeze(pressed=pressed))


@fault(
    "F330",
    "What was accepted under pressure is thrown away",
    "store",
    caught(CHECK, "memory-lost", "under pressure"),
)
def lost(work: ObservabilityWork) -> None:
    """Acknowledge inserts of spans and lose them."""

    def decide(insert: Insert) -> Act:
        return Act.LOSE if insert.table == "otel_traces" else Act.PASS

    work.private(between=lambda clickhouse: proxy(clickhouse, decide))
