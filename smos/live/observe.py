"""Reads a host's answers: clock, memory, room, containers, units. Facts; what can't be understood stays unknown."""

import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from smos.backup.names import printable
from smos.clock import Clock
from smos.errors import UnsafeInputError
from smos.live.declared import HostTarget, Service
from smos.live.errors import LiveError, live_error
from smos.live.facts import HostFacts, RoomFacts
from smos.live.host import Answer, Host

if TYPE_CHECKING:
    from smos.verdict import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """What the host says of one container or unit.

    healthy: True only where it says so itself; None: it does not say. running_s: since its last start; restarts:
    None where nobody counts. started: changes with every start. problem: why it could not be asked.
    """

    healthy: bool | None
    detail: str
    restarts: int | None = None
    running_s: float | None = None
    started: str = ""
    restarting: bool = False
    asked: bool = True


def observe(host: Host, target: HostTarget, paths: Iterable[str], clock: Clock) -> HostFacts:
    """Ask the host how it is; a question without an answer becomes a problem of the facts.

    paths: places whose file systems must have room.
    """
    problems: list[Problem] = []
    offset, uncertainty = None, 0.0
    total, available = None, None
    rooms: list[RoomFacts] = []
    try:
        offset, uncertainty = _clock(host, clock)
    except LiveError as error:
        problems.append(error.problem)
    try:
        total, available = _memory(_good(host, "memory"))
    except LiveError as error:
        problems.append(error.problem)
    for path in dict.fromkeys(paths):
        try:
            rooms.append(_room(host, path))
        except LiveError as error:
            problems.append(error.problem)
    return HostFacts(
        address=target.address,
        clock_offset_s=offset,
        clock_uncertainty_s=uncertainty,
        memory_total=total,
        memory_available=available,
        rooms=tuple(rooms),
        commands=(),
        problems=tuple(problems),
    )


def state_of(host: Host, service: Service, clock: Clock) -> ServiceState:
    """Ask for one declared container or unit. Never raises for what the host answers."""
    name = service.unit or service.name
    try:
        if service.kind == "container":
            return _container(host.ask("container", container=name), clock)
        uptime = _uptime(_good(host, "uptime"))
        return _unit(host.ask("unit", unit=name), uptime)
    except (LiveError, UnsafeInputError) as error:
        return ServiceState(healthy=None, detail=printable(error.message), asked=False)


def _good(host: Host, name: str, directory: str | None = None) -> str:
    answer = host.ask(name) if directory is None else host.ask(name, directory=directory)
    if answer.code != 0:
        last = printable((answer.said.splitlines() or [f"exit code {answer.code}"])[-1])
        raise live_error("host-command-failed", f"`{name}` failed: {last}")
    return answer.out.decode("utf-8", "replace")


def _unreadable(name: str) -> LiveError:
    return live_error("host-answer-unreadable", f"the answer of `{name}` is not what that command writes")


def _clock(host: Host, clock: Clock) -> tuple[float, float]:
    """Return (host's clock minus the runner's, half of the time that the question took), in seconds."""
    answer = host.ask("clock")
    after = clock.now().timestamp() - (time.monotonic() - answer.began_s - answer.took_s)
    text = answer.out.decode("ascii", "replace").strip()
    match = re.fullmatch(r"(\d{1,12})(?:\.(\d{1,9}|%?N))?", text)
    if answer.code != 0 or match is None:
        raise _unreadable("clock")
    digits = (
        match[2] if match[2] and match[2].isdecimal() else "5"
    )  # without fractions: the middle of the second
    there = float(f"{match[1]}.{digits}")
    return there - (after - answer.took_s / 2), answer.took_s / 2 + (0 if match[2] else 0.5)


def _memory(text: str) -> tuple[int, int]:
    values = dict(re.findall(r"^(MemTotal|MemAvailable):\s+(\d{1,15}) kB$", text, re.MULTILINE))
    if set(values) != {"MemTotal", "MemAvailable"} or int(values["MemTotal"]) == 0:
        raise _unreadable("memory")
    return int(values["MemTotal"]) * 1024, int(values["MemAvailable"]) * 1024


_DF = re.compile(r"^\S.*?\s+(\d{1,18})\s+(\d{1,18})\s+(-?\d{1,18})\s+(\d{1,9}%|-)\s+(/.*)$")


def _room(host: Host, path: str) -> RoomFacts:
    lines = _good(host, "room", directory=path).splitlines()
    match = _DF.match(lines[-1]) if len(lines) == 2 else None
    if match is None or int(match[1]) == 0:
        raise _unreadable("room")
    used: float | None = None
    counted = host.ask("inodes", directory=path)
    inodes = _DF.match((counted.out.decode("utf-8", "replace").splitlines() or [""])[-1])
    if counted.code == 0 and inodes is not None and int(inodes[1]) > 0:
        used = 100 * int(inodes[2]) / int(inodes[1])
    return RoomFacts(
        path=path,
        mount=printable(match[5]),
        total=int(match[1]) * 1024,
        available=max(0, int(match[3])) * 1024,
        inodes_used_percent=used,
    )


def _uptime(text: str) -> float:
    match = re.match(r"(\d{1,12}(?:\.\d+)?) ", text)
    if match is None:
        raise _unreadable("uptime")
    return float(match[1])


def _container(answer: Answer, clock: Clock) -> ServiceState:
    if answer.code != 0:
        last = printable((answer.said.splitlines() or [f"exit code {answer.code}"])[-1])
        missing = re.search(r"no such", last, re.IGNORECASE) is not None
        return ServiceState(
            healthy=False if missing else None,
            detail="there is no such container" if missing else f"the engine can't be asked: {last}",
            asked=missing,
        )
    try:
        text, _, count = answer.out.decode("utf-8").strip().rpartition(" ")
        state, restarts = json.loads(text), int(count)
        status, running = str(state["Status"]), state["Running"] is True
        started = str(state["StartedAt"])
        health = (state.get("Health") or {}).get("Status") or "none"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unreadable("container") from None
    running_s = _since(started, clock) if running else None
    seen = ServiceState(
        healthy=None, detail="", restarts=restarts, running_s=running_s, started=f"{started} {restarts}"
    )
    if status == "restarting" or state.get("Restarting") is True:
        return replace(seen, healthy=False, detail="it is restarting", restarting=True)
    if status != "running" or not running or state.get("Paused") is True:
        return replace(seen, healthy=False, detail=f"it is {printable(status)[:40]}, not running")
    if health == "healthy":
        return replace(seen, healthy=True, detail="running, and healthy by its own check")
    if health == "unhealthy":
        return replace(seen, healthy=False, detail="running, and unhealthy by its own check")
    why = (
        "it has no health check"
        if health == "none"
        else f"its health check says {printable(str(health))[:40]}"
    )
    return replace(seen, healthy=None, detail=f"running, but {why}")


def _since(started: str, clock: Clock) -> float | None:
    """Return the seconds since a time as Docker writes it (nanoseconds, which Python does not read)."""
    from datetime import datetime

    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", started)
    if match is None:
        return None
    try:
        return clock.now().timestamp() - datetime.fromisoformat(f"{match[1]}{match[2]}").timestamp()
    except (ValueError, OverflowError):  # a month 13, a year that no clock has
        return None


_COUNT = re.compile(r"[0-9]{1,18}")
_POSITIVE = {"running", "listening", "waiting", "mounted"}
"""Sub-states of an active unit that say that it does its work: services, sockets, timers, mounts."""


def _unit(answer: Answer, uptime: float) -> ServiceState:
    if answer.code != 0:
        last = printable((answer.said.splitlines() or [f"exit code {answer.code}"])[-1])
        return ServiceState(healthy=None, detail=f"systemd can't be asked: {last}", asked=False)
    text = answer.out.decode("utf-8", "replace")
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if not {"LoadState", "ActiveState", "SubState"} <= set(values):
        raise _unreadable("unit")
    active, sub = printable(values["ActiveState"])[:40], printable(values["SubState"])[:40]
    counted, since = values.get("NRestarts", ""), values.get("ActiveEnterTimestampMonotonic", "")
    restarts = int(counted) if _COUNT.fullmatch(counted) else None
    running_s = uptime - int(since) / 1e6 if _COUNT.fullmatch(since) and since != "0" else None
    seen = ServiceState(
        healthy=None, detail="", restarts=restarts, running_s=running_s, started=f"{since} {restarts}"
    )
    if values["LoadState"] != "loaded":
        return replace(seen, healthy=False, detail=f"the unit is {printable(values['LoadState'])[:40]}")
    if active == "activating" and sub == "auto-restart":
        return replace(seen, healthy=False, detail="it is restarting", restarting=True)
    if active == "active" and sub in _POSITIVE:
        return replace(seen, healthy=True, detail=f"active ({sub})")
    if active in {"active", "activating", "reloading"}:
        return replace(seen, healthy=None, detail=f"{active} ({sub}): nothing of it runs")
    result = printable(values.get("Result", ""))[:40]
    return replace(seen, healthy=False, detail=f"{active} ({sub}), result {result or 'unknown'}")
