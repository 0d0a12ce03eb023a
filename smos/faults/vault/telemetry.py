"""F175 to F179: metrics that everybody sees, nobody can read, or that stand still."""

from typing import Any

from smos.faults.registry import caught, fault
from smos.faults.vault.servers import another_subject
from smos.faults.vault.wire import Message, Reply
from smos.faults.vault.work import VaultWork
from smos.vault.verify.telemetry import HANDLED

CHECK = "VAULT-11"


@fault(
    "F175",
    "Metrics are given out without a token",
    "metrics",
    caught(CHECK, "metrics-open", "without a token"),
)
def everybody(work: VaultWork) -> None:
    """Open them on the listener."""

    def change(configuration: dict[str, Any]) -> None:
        for listener in configuration["listener"]:
            for settings in listener.values():
                settings["telemetry"] = {"unauthenticated_metrics_access": True}

    another_subject(work, change)


@fault("F176", "Metrics are switched off", "metrics", caught(CHECK, "metrics-off"))
def switched_off(work: VaultWork) -> None:
    """Keep none for Prometheus."""

    def change(configuration: dict[str, Any]) -> None:
        configuration["telemetry"] = {"prometheus_retention_time": "0s"}

    another_subject(work, change)


@fault("F177", "Metrics come as JSON", "metrics", caught(CHECK, "metrics-unreadable"))
def as_json(work: VaultWork) -> None:
    """Answer in another format."""

    def change(message: Message, reply: Reply) -> Reply | None:
        found = message.path == "sys/metrics" and reply.status == 200
        return Reply(200, {"Counters": [], "Gauges": [{"Name": "vault.core.unsealed"}]}) if found else None

    work.replies(change)


@fault("F178", "Metrics come from a cache", "metrics", caught(CHECK, "metrics-do-not-count", "rose by 0"))
def cached(work: VaultWork) -> None:
    """Give the first answer for ever."""
    kept: list[str] = []

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/metrics" and reply.status == 200 and reply.text is not None:
            kept.append(reply.text)
            reply.text = kept[0]

    work.replies(change)


@fault("F179", "The metric that alarms need is gone", "metrics", caught(CHECK, "metrics-missing", HANDLED))
def incomplete(work: VaultWork) -> None:
    """Leave one out."""

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/metrics" and reply.text is not None:
            lines = reply.text.splitlines(keepends=True)
            reply.text = "".join(line for line in lines if "vault_core_handle_request" not in line)

    work.replies(change)
