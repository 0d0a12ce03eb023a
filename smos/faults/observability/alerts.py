"""F350 to F355: alerts that are silent, false, never taken back, or told to nobody."""

from collections.abc import Callable
from typing import Any

from smos.faults.observability.files import changed, swap
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault

CHECK = "OBS-08"
RULES, ROUTES, GRAFANA = (
    "observability/prometheus-rules.yml",
    "observability/alertmanager.yml",
    "observability/grafana-alerting.yaml",
)
NEVER_S = 3.0
"""How long is waited for a message that nobody sends."""
QUEUE = "otelcol_exporter_queue_size / otelcol_exporter_queue_capacity > 0.5"


def _with(work: ObservabilityWork, name: str, change: Callable[[str], str], **options: Any) -> None:
    from smos.observability.verify.alerts import Options  # not everybody has what it imports

    folder = changed(work, name, change) / "observability"
    work.lab = work.lab.but(options=Options(folder=folder, **{"only": "servers", **options}))


@fault(
    "F350a",
    "A threshold is ten times too high",
    "rules",
    caught(CHECK, "alert-silent", "TelemetryQueueFilling"),
)
def silent(work: ObservabilityWork) -> None:
    """Raise it."""
    _with(work, RULES, swap(QUEUE, QUEUE.replace("0.5", "5")))


@fault(
    "F350b",
    "An alert fires while all is well",
    "rules",
    caught(CHECK, "alert-false", "TelemetryQueueFilling"),
)
def false_alarm(work: ObservabilityWork) -> None:
    """Lower the threshold."""
    _with(work, RULES, swap(QUEUE, QUEUE.replace("0.5", "0")))


@fault(
    "F350c",
    "A rule asks for a metric of another name",
    "rules",
    caught(CHECK, "alert-rules-wrong", "DrillNotProven"),
)
def other_metric(work: ObservabilityWork) -> None:
    """Rename it."""
    _with(work, RULES, swap("expr: smos_proven == 0", "expr: smos_prooven == 0"), only="rules")


@fault(
    "F351a",
    "Nobody is told that an alert is over",
    "routes",
    caught(CHECK, "alert-unresolved", "VaultUnavailable"),
)
def unresolved(work: ObservabilityWork) -> None:
    """Leave it out."""
    _with(work, ROUTES, swap("send_resolved: true", "send_resolved: false"), ended_s=NEVER_S)


@fault(
    "F351b", "An alert goes on for an hour", "rules", caught(CHECK, "alert-sticks", "TelemetryQueueFilling")
)
def sticks(work: ObservabilityWork) -> None:
    """Look at the highest value of an hour."""
    _with(
        work,
        RULES,
        swap(
            QUEUE,
            QUEUE.replace(
                "queue_size /", "queue_size >= 0 and max_over_time(otelcol_exporter_queue_size[1h]) /"
            ),
        ),
    )


@fault(
    "F352a",
    "The webhook's address is wrong",
    "routes",
    caught(CHECK, "alert-undelivered", "VaultUnavailable"),
)
def wrong_webhook(work: ObservabilityWork) -> None:
    """Send to a path that nobody serves."""
    _with(work, ROUTES, lambda text: text + "# the address is in a file\n", hook="/hook/of-nobody")


@fault("F352b", "The receiver tells nobody", "routes", caught(CHECK, "alert-undelivered", "VaultUnavailable"))
def no_receiver(work: ObservabilityWork) -> None:
    """Take its webhook away."""
    hooks = "webhook_configs:\n      - url_file: /run/alerts/alert_webhook_url\n        send_resolved: true\n"
    _with(work, ROUTES, swap(hooks, "webhook_configs: []\n"), told_s=NEVER_S)


@fault("F353", "An alert does not say what is wrong", "rules", caught(CHECK, "alert-unreadable"))
def unreadable(work: ObservabilityWork) -> None:
    """Leave its summary empty."""
    _with(
        work,
        RULES,
        swap("summary: The newest drill did not prove everything that is required", 'summary: ""'),
    )


@fault("F354", "A rule has no test", "rules", caught(CHECK, "alert-untested", "NobodyTestsThis"))
def untested(work: ObservabilityWork) -> None:
    """Add one."""
    rule = "      - alert: NobodyTestsThis\n        expr: vector(0) > 1\n"
    _with(work, RULES, lambda text: text.rstrip("\n") + "\n" + rule, only="rules")


@fault(
    "F355a",
    "Grafana's threshold for latency is in other units than its query",
    "rules",
    caught(CHECK, "grafana-rule-wrong", "smarteros-latency", "fires for nobody"),
)
def grafana_threshold(work: ObservabilityWork) -> None:
    """Take nanoseconds as the limit."""
    _with(work, GRAFANA, swap("params: [1000]", "params: [1000000000]"), only="grafana")


@fault(
    "F355b",
    "Grafana's alerts go to a contact point that is not there",
    "routes",
    caught(CHECK, "grafana-untold", "somebody"),
)
def grafana_untold(work: ObservabilityWork) -> None:
    """Name another one."""
    _with(work, GRAFANA, swap("receiver: webhook", "receiver: somebody"), only="grafana")


@fault(
    "F355c",
    "A rule of Grafana asks for a misspelt table",
    "rules",
    caught(CHECK, "grafana-rule-wrong", "smarteros-error-logs"),
)
def grafana_table(work: ObservabilityWork) -> None:
    """Misspell it."""
    _with(work, GRAFANA, swap("FROM otel_logs", "FROM otel_log"), only="grafana")


@fault("F355d", "A rule of Grafana is gone", "rules", caught(CHECK, "grafana-rule-missing", "smarteros-rto"))
def grafana_rule(work: ObservabilityWork) -> None:
    """Give it another name."""
    _with(work, GRAFANA, swap("uid: smarteros-rto", "uid: another-rule"), only="grafana")
