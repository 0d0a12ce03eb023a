"""OBS-08: conditions are injected; a real Prometheus and a real Alertmanager carry the alerts to a webhook and back.

Both run the shipped rules and routes with shorter waiting times. All conditions that follow from one scrape are
injected at once; those that need time (rates, ages of absent series) are shown by `promtool test rules`, for which
every rule must have a case. Grafana's own rules are data here: Grafana itself does not run.
"""

import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from ruamel.yaml import YAML

from smos.errors import DeadlineError, ProvisionError
from smos.http import trust
from smos.observability.clickhouse import ClickHouse, ClickHouseError
from smos.observability.verify.alertsite import AlertSite
from smos.observability.verify.knowntables import known_tables
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.panels import expected
from smos.observability.verify.probe import Probe, ProbeFacts
from smos.paths import compose_dir
from smos.wait import wait_for

SCRAPED_S = EVALUATED_S = TOLD_S = REQUEST_S = 120.0
"""Limits against hangs: a scrape, an evaluation and a message take a second or two, on a busy machine longer."""
NOW_S = 240
"""The moment, in seconds from the base of the known telemetry, at which Grafana's rules are asked."""
OVERDUE_S = 40 * 86400
METRICS, VAULT, DRILL = "/metrics", "/v1/sys/metrics", "/drill/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """folder: where rules and routes are. hook: where the webhook is believed to be; None: where it is.

    told_s, ended_s: how long to wait for messages that alerts fire, and that they are over. only: look at files alone,
    at those of the rules or at Grafana's, or at what the servers carry (faults, which break one of them; what is not
    looked at is unproven).
    """

    folder: Path
    hook: str | None = None
    told_s: float = TOLD_S
    ended_s: float = TOLD_S
    only: Literal["rules", "grafana", "servers"] | None = None

    @property
    def narrowed(self) -> tuple[str, ...]:
        """The part that alone is looked at."""
        return (self.only,) if self.only else ()


def well(now: float) -> dict[str, str]:
    """Return metrics of a stack that is well. now: Unix seconds."""
    return {METRICS: _queue(1), VAULT: "vault_core_unsealed 1\n", DRILL: _drill(1, now - 3600, 60, 900)}


def ill(now: float) -> dict[str, str]:
    """Return metrics of a stack on which every condition holds that can be seen in one scrape."""
    return {METRICS: _queue(90), DRILL: _drill(0, now - OVERDUE_S, 20_000, 90_000)}


INJECTED = (
    "TelemetryQueueFilling",
    "VaultUnavailable",
    "DrillNotProven",
    "DrillOverdue",
    "RecoveryTimeAboveObjective",
    "RecoveryPointAboveObjective",
)


def observe(lab: ObservabilityLab) -> ProbeFacts:
    """Test the rules, then let alerts fire, arrive and resolve. Raises ObservabilityError, ProvisionError."""
    lab.own()
    options: Options = lab.options or Options(folder=compose_dir() / "observability")
    details: dict[str, Any] = {"Grafana's rules": "validated as data; Grafana itself does not run here"}
    if options.only in {"rules", "grafana"}:
        look = _tested if options.only == "rules" else _grafana
        return ProbeFacts(probes=tuple(look(lab, options)), details=details)
    probes = list(_carried(lab, options, details))
    return ProbeFacts(probes=tuple(probes), details=details)


def _tested(lab: ObservabilityLab, options: Options) -> Iterator[Probe]:
    """Run `promtool test rules`, and look whether each rule has a case that fires and one that doesn't."""
    from smos.provision.embedded.prometheus import check_rules

    rules, tests = options.folder / "prometheus-rules.yml", options.folder / "prometheus-rules.test.yml"
    try:
        said = check_rules(lab.owner(), tests, rules)
        yield Probe(claim="rules-tested", holds="SUCCESS" in said, seen="promtool test rules")
    except ProvisionError as error:
        failed = re.findall(r"alertname: (\w+)", error.log or error.message)
        seen = ", ".join(dict.fromkeys(failed)) or " ".join((error.log or error.message).split())[-300:]
        yield Probe(claim="rules-tested", holds=False, seen=seen)
    names = {rule["alert"] for group in _loaded(rules)["groups"] for rule in group["rules"]}
    cases = [case for test in _loaded(tests)["tests"] for case in test["alert_rule_test"]]
    for claim, found in (
        ("has-test", {case["alertname"] for case in cases if case["exp_alerts"]}),
        ("has-quiet-test", {case["alertname"] for case in cases if not case["exp_alerts"]}),
    ):
        lost = sorted(names - found)
        yield Probe(
            claim=claim, holds=bool(names) and not lost, seen=", ".join(lost) or f"{len(names)} rules"
        )


def _carried(lab: ObservabilityLab, options: Options, details: dict[str, Any]) -> Iterator[Probe]:
    owner, servers = lab.owner(), lab.own().recipe.servers
    now = time.time()
    with AlertSite(well(now)) as site:
        alertmanager = servers.alertmanager(
            owner,
            f"http://{site.place}{options.hook or site.hook}",
            name="alerts-manager",
            config=options.folder / "alertmanager.yml",
        )
        server = servers.prometheus(
            owner,
            {"otelcol": [site.place], "vault": [site.place], "drill": [site.place]},
            name="alerts-prometheus",
            alertmanager=alertmanager.endpoint,
            token=site.token,
            rules=options.folder / "prometheus-rules.yml",
            paths={"drill": DRILL},
        )
        try:
            alertmanager.start()
            server.start()
            # Prometheus waits some five seconds before its first scrape; what needs no server is done meanwhile.
            if options.only is None:
                yield from _tested(lab, options)
                yield from _grafana(lab, options)
            with httpx.Client(
                base_url=server.endpoint.url, timeout=REQUEST_S, trust_env=False, verify=trust()
            ) as client:
                yield from _through(client, alertmanager.endpoint.url, site, now, options, details)
        finally:
            server.kill()
            alertmanager.kill()


def _through(
    client: httpx.Client,
    manager: str,
    site: AlertSite,
    now: float,
    options: Options,
    details: dict[str, Any],
) -> Iterator[Probe]:
    wait_for(
        lambda: _states(client, scraped=_value(client, "count(up == 1)") == 3),
        what="every target is scraped and judged",
        deadline_s=SCRAPED_S,
    )
    early = sorted(_firing(client) | site.told("firing"))
    yield Probe(claim="quiet", holds=not early, seen=", ".join(early) or "nothing fires while all is well")
    site.pages = ill(now)
    began = time.monotonic()
    wait_for(
        lambda: (
            _value(client, "max(otelcol_exporter_queue_size)") == 90
            and _value(client, "min(up)") == 0
            and _value(client, "smos_proven") == 0
        ),
        what="the ill metrics are scraped",
        deadline_s=SCRAPED_S,
    )
    _judged_again(client)
    firing = _firing(client)
    for name in INJECTED:
        yield Probe(claim="fires", holds=name in firing, seen=name)
    arrived = _waited(lambda: site.told("firing") >= firing & set(INJECTED), manager, options.told_s)
    details["seconds from condition to webhook"] = round(time.monotonic() - began, 1)
    for name in sorted(firing & set(INJECTED)):
        yield Probe(claim="arrives", holds=arrived or name in site.told("firing"), seen=name)
    summaries = [
        alert["annotations"].get("summary", "") for message in site.messages for alert in message["alerts"]
    ]
    unclear = [text for text in summaries if not text or "{{" in text or "%!" in text or "<no value>" in text]
    yield Probe(
        claim="readable",
        holds=not unclear if summaries else None,
        seen=f"{len(summaries)} summaries" if not unclear else "; ".join(unclear[:3]),
    )
    site.pages = well(now)
    wait_for(
        lambda: (
            _value(client, "max(otelcol_exporter_queue_size)") == 1
            and _value(client, "min(up)") == 1
            and _value(client, "smos_proven") == 1
        ),
        what="the healed metrics are scraped",
        deadline_s=SCRAPED_S,
    )
    _judged_again(client)
    still = _firing(client)
    for name in sorted(firing & set(INJECTED)):
        yield Probe(claim="ends", holds=name not in still, seen=name)
    # What was never told can't be told to be over: that is the finding above.
    wanted = (firing & site.told("firing") & set(INJECTED)) - still
    _waited(lambda: site.told("resolved") >= wanted, manager, options.ended_s)
    for name in sorted(wanted):
        yield Probe(claim="resolves", holds=name in site.told("resolved"), seen=name)
    if not wanted:
        yield Probe(claim="resolves", seen="no alert had arrived")


def _grafana(lab: ObservabilityLab, options: Options) -> Iterator[Probe]:
    """Look at Grafana's rules as data: whom they tell, what they ask, and what comes back for known telemetry."""
    given = _loaded(options.folder / "grafana-alerting.yaml")
    sources = {one["uid"] for one in _loaded(options.folder / "grafana-datasources.yaml")["datasources"]}
    points = {
        point["name"]
        for point in given["contactPoints"]
        for receiver in point["receivers"]
        if receiver["settings"].get("url")
    }
    told = {policy["receiver"] for policy in given["policies"]}
    yield Probe(claim="grafana-tells", holds=bool(told) and told <= points, seen=", ".join(sorted(told)))
    rules = {rule["uid"]: rule for group in given["groups"] for rule in group["rules"]}
    wanted = expected()["rules"]
    lost = sorted(wanted.keys() - rules.keys())
    yield Probe(claim="grafana-rules", holds=not lost, seen=", ".join(lost) or f"{len(rules)} rules")
    with known_tables(lab) as (tables, client):
        for uid, rule in rules.items():
            yield _grafana_rule(uid, rule, wanted.get(uid), sources, client, tables.base)


def _grafana_rule(
    uid: str,
    rule: Mapping[str, Any],
    wanted: Mapping[str, Any] | None,
    sources: set[str],
    client: ClickHouse,
    base: int,
) -> Probe:
    """Run one rule's query for the moment of the known telemetry, and compare what would fire."""
    query, reduced, threshold = rule["data"]
    evaluator = threshold["model"]["conditions"][0]["evaluator"]
    chained = (
        query["datasourceUid"] in sources
        and reduced["model"]["expression"] == query["refId"]
        and threshold["model"]["expression"] == reduced["refId"]
        and rule["condition"] == threshold["refId"]
        and evaluator["type"] == "gt"
    )
    if not chained:
        seen = f"{uid}: its parts don't build on each other, or its source is unknown"
        return Probe(claim="grafana-fires", holds=False, seen=seen)
    sql = query["model"]["rawSql"].replace("now()", f"toDateTime({base + NOW_S})")
    try:
        rows = client.rows(sql)
    except ClickHouseError as error:
        return Probe(claim="grafana-fires", holds=False, seen=f"{uid}: {error.message[:300]}")
    if wanted is None:
        return Probe(claim="grafana-fires", seen=f"{uid}: nobody has written down when it must fire")
    limit = float(evaluator["params"][0])
    found = {str(row["service"]): float(row["value"]) for row in rows}
    fired = sorted(name for name, value in found.items() if value > limit)
    right = found.keys() == wanted["rows"].keys() and all(
        math.isclose(found[name], value, rel_tol=1e-4) for name, value in wanted["rows"].items()
    )
    said = ", ".join(f"{name} {value:g}" for name, value in found.items()) or "nothing"
    return Probe(
        claim="grafana-fires",
        holds=right and fired == sorted(wanted["fires"]),
        seen=f"{uid}: {said}; fires for {', '.join(fired) or 'nobody'}",
    )


def _states(client: httpx.Client, *, scraped: bool) -> bool:
    """Tell whether all is scraped and the rules were evaluated after that."""
    if scraped:
        _judged_again(client)
    return scraped


def _judged_again(client: httpx.Client) -> None:
    """Wait until every group of rules was evaluated twice more: once begun before now, once after."""

    def moments() -> dict[str, str]:
        return {group["name"]: group["lastEvaluation"] for group in _groups(client)}

    for _ in range(2):
        before = moments()
        wait_for(
            lambda before=before: all(moments().get(name) != moment for name, moment in before.items()),  # type: ignore[misc]  # the default binds this round's value
            what="the rules are evaluated again",
            deadline_s=EVALUATED_S,
        )


def _waited(told: Any, manager: str, within_s: float) -> bool:
    """Wait until the webhook was told; give up early where Alertmanager says that it could not deliver."""

    def decided() -> bool:
        return bool(told()) or _failed(manager) > 0

    try:
        wait_for(decided, what="the webhook is told", deadline_s=within_s)
    except DeadlineError:
        return False  # a judgement follows: the alerts that did not arrive are named
    return bool(told())


def _failed(manager: str) -> float:
    text = httpx.get(f"{manager}/metrics", timeout=REQUEST_S, trust_env=False, verify=trust()).text
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("alertmanager_notifications_failed_total{") and 'integration="webhook"' in line
    )


def _groups(client: httpx.Client) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = client.get("/api/v1/rules").json()["data"]["groups"]
    return groups


def _firing(client: httpx.Client) -> set[str]:
    return {
        rule["name"] for group in _groups(client) for rule in group["rules"] if rule.get("state") == "firing"
    }


def _value(client: httpx.Client, query: str) -> float | None:
    result = client.get("/api/v1/query", params={"query": query}).json()["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def _queue(size: int) -> str:
    return (
        f'otelcol_exporter_queue_size{{data_type="logs"}} {size}\n'
        'otelcol_exporter_queue_capacity{data_type="logs"} 100\n'
    )


def _drill(proven: int, started: float, rto: float, rpo: float) -> str:
    return (
        f"smos_proven {proven}\nsmos_drill_timestamp_seconds {started}\n"
        f"smos_rto_actual_seconds {rto}\nsmos_rto_objective_seconds 14400\n"
        f"smos_rpo_actual_seconds {rpo}\nsmos_rpo_objective_seconds 86400\n"
    )


def _loaded(path: Path) -> Any:
    return YAML(typ="safe").load(path)
