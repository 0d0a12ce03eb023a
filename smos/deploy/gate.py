"""Whether a deployment works, from what its containers and its address show; and what would have to show it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smos.deploy.compose import ServiceState

DONE = frozenset({"no", "", "on-failure"})
"""Restart policies under which an end with 0 is the purpose."""


@dataclass(frozen=True, slots=True)
class GateState:
    """passed: everything has shown that it works. failed: what no waiting heals. waiting: what else is open."""

    passed: bool
    failed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def unprovable(config: Mapping[str, Any], health_url: str | None) -> tuple[str, ...]:
    """Return the services that nothing could show to work: no health check, no end, and no address that is asked."""
    if health_url:
        return ()
    services = config.get("services") or {}
    found = []
    for name, service in services.items():
        check = service.get("healthcheck") or {}
        disabled = check.get("disable") is True or check.get("test") in (["NONE"], "NONE")
        if (not check or disabled) and str(service.get("restart") or "") not in DONE:
            found.append(name)
    return tuple(sorted(found))


def judge_gate(
    config: Mapping[str, Any], states: Sequence[ServiceState], address: tuple[bool | None, str] | None
) -> GateState:
    """Judge a deployment. address: what the health address showed (None of it: no answer yet), None: there is none."""
    failed: list[str] = []
    waiting: list[str] = []
    services = config.get("services") or {}
    for name, service in sorted(services.items()):
        mine = [state for state in states if state.service == name]
        if not mine:
            waiting.append(f"{name}: no container")
        for state in mine:
            _one(state, service, failed, waiting, has_address=address is not None)
    if address is not None and address[0] is not True:
        waiting.append(address[1])  # a false answer may become a right one while the application starts
    return GateState(not failed and not waiting, tuple(failed), tuple(waiting))


def _one(
    state: ServiceState,
    service: Mapping[str, Any],
    failed: list[str],
    waiting: list[str],
    *,
    has_address: bool,
) -> None:
    name = state.name or state.service
    one_shot = str(service.get("restart") or "") in DONE
    if state.status == "exited" and state.exit_code == 0 and one_shot:
        return
    if state.status in {"exited", "dead"}:
        failed.append(f"{name}: ended with {state.exit_code}")
    elif state.status != "running":
        waiting.append(f"{name}: {state.status or 'not there'}")
    elif state.health == "unhealthy":
        failed.append(f"{name}: unhealthy by its own check")
    elif state.health != "healthy" and (state.health or not has_address):
        waiting.append(f"{name}: {state.health or 'running, without a health check'}")
