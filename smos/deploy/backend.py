"""Deploys the back end: pull or build, start, wait for evidence that it works, or go back to the images before."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smos.clock import Clock
from smos.deploy.compose import WORK_S, Compose, ServiceState
from smos.deploy.gate import GateState, judge_gate, unprovable
from smos.errors import DeadlineError, SmosError, TargetError
from smos.wait import wait_for

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a deployment."""

    action: str
    subject: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployPlan:
    """What will be done. before: the image that each service runs now (empty: it does not run).

    orphans: services of the project that the compose file does not name: nothing is done to them.
    """

    config: dict[str, Any]
    before: dict[str, str]
    running: tuple[ServiceState, ...]
    steps: tuple[Step, ...]
    health_url: str | None
    gate_s: float
    orphans: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` shows."""
        return {
            "steps": [asdict(step) for step in self.steps],
            "before": self.before,
            "orphans": list(self.orphans),
        }


def make_plan(compose: Compose, *, health_url: str | None, gate_s: float, pull: bool) -> DeployPlan:
    """Look at what runs and say what will be done. Raises TargetError where nothing could show that it works."""
    config = compose.config()
    services: dict[str, Any] = config.get("services") or {}
    if not services:
        raise TargetError(f"{compose.file} holds no service")
    open_ = unprovable(config, health_url)
    if open_:
        raise TargetError(
            f"Nothing could show that these work: {', '.join(open_)}",
            remedy="give them a health check in the compose file, or: smos config set deploy.health_url URL",
        )
    states = compose.states()
    before = {name: next((s.image_id for s in states if s.service == name), "") for name in sorted(services)}
    steps = []
    for name, service in sorted(services.items()):
        if service.get("build"):
            steps.append(Step("build", name, str(service.get("image") or "")))
        elif pull:
            steps.append(Step("pull", name, str(service.get("image") or "")))
    steps += [
        Step("start", name, f"now {before[name][:19]}" if before[name] else "does not run yet")
        for name in sorted(services)
    ]
    what = "every health check" + (f", and {health_url}" if health_url else "")
    steps.append(Step("gate", what, f"within {gate_s:g} s, else back to what runs now"))
    return DeployPlan(
        config=config, before=before, running=states, steps=tuple(steps), health_url=health_url, gate_s=gate_s,
        orphans=tuple(sorted({state.service for state in states} - set(services))),
    )  # fmt: skip


def deploy(compose: Compose, plan: DeployPlan, clock: Clock, say: Say) -> tuple[ServiceState, ...]:
    """Do what the plan says; return the containers. Raises SmosError when the gate failed: the images before run again.

    Whatever breaks it off after the first container was changed, Ctrl-C as well, goes back too.
    """
    for action, names in (("build", _of(plan, "build")), ("pull", _of(plan, "pull"))):
        if names:
            say(f"{action}: {', '.join(names)}")
            compose.run(action, *names, limit_s=WORK_S)
    try:
        say(f"start: {', '.join(_of(plan, 'start'))}")
        compose.run("up", "--detach", "--no-build", limit_s=WORK_S)
        say(f"gate: {plan.steps[-1].subject}")
        _pass_gate(compose, plan, clock)
    except BaseException as error:
        back = _go_back(compose, plan, clock, say)
        if isinstance(error, SmosError):
            raise SmosError(
                f"The deployment does not work: {error.message}. {back}", log=error.log
            ) from error
        say(back)
        raise
    return compose.states()


def _of(plan: DeployPlan, action: str) -> list[str]:
    return [step.subject for step in plan.steps if step.action == action]


def _pass_gate(compose: Compose, plan: DeployPlan, clock: Clock) -> None:
    """Wait until everything has shown that it works. Raises SmosError as soon as something can't any more."""
    last = GateState(passed=False)

    def look() -> bool:
        nonlocal last
        last = judge_gate(plan.config, compose.states(), _address(plan.health_url, clock))
        if last.failed:
            raise SmosError("; ".join(last.failed), log=_logs(compose))
        return last.passed

    try:
        wait_for(look, what="the deployment has shown that it works", deadline_s=plan.gate_s)
    except DeadlineError as error:
        text = f"after {plan.gate_s:g} s it has not shown that it works: {'; '.join(last.waiting)}"
        raise SmosError(text, log=_logs(compose)) from error


def _address(url: str | None, clock: Clock) -> tuple[bool | None, str] | None:
    if url is None:
        return None
    from smos.live.addresses import ask_address
    from smos.live.declared import Service

    state = ask_address(Service(name=url[:255], kind="http", url=url), clock)
    return state.healthy, f"{url}: {state.detail}"


def _logs(compose: Compose) -> str:
    try:
        return compose.run("logs", "--no-color", "--tail", "20")[-2000:]
    except SmosError:
        return ""  # the error itself is told; its log was only for convenience


def _go_back(compose: Compose, plan: DeployPlan, clock: Clock, say: Say) -> str:
    """Start the images again that ran before; what did not run is taken away. Return how that went, in a sentence."""
    began = time.monotonic()
    old = {name: image for name, image in plan.before.items() if image}
    new = [name for name in plan.before if name not in old]
    say("going back to what ran before")
    try:
        if new:
            compose.run("rm", "--stop", "--force", *new, limit_s=WORK_S)
        if not old:
            return "Nothing ran before, and what was started is removed."
        with tempfile.TemporaryDirectory(prefix="smos-deploy-") as scratch:
            override = Path(scratch) / "images.json"
            pinned = {name: {"image": image, "pull_policy": "never"} for name, image in old.items()}
            override.write_text(json.dumps({"services": pinned}), encoding="utf-8")
            compose.run(
                "up", "--detach", "--no-build", "--no-deps", *sorted(old), override=override, limit_s=WORK_S
            )
        kept = {name: service for name, service in plan.config["services"].items() if name in old}

        def works() -> bool:
            address = _address(plan.health_url, clock)
            return judge_gate({"services": kept}, compose.states(), address).passed

        wait_for(works, what="the images before have shown that they work", deadline_s=plan.gate_s)
    except SmosError as error:
        return f"GOING BACK FAILED AS WELL: {error.message}"
    return f"The images that ran before run again, shown to work ({time.monotonic() - began:.0f} s)."
