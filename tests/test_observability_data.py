"""The shipped files: nothing but what is used, no default passwords, loopback, queries that run, units that fit."""

import json
import re
import secrets
import time
from collections.abc import Iterator

import pytest
from ruamel.yaml import YAML

from smos.compose.variables import shipped
from smos.observability import dashboards
from smos.observability.clickhouse import ClickHouse
from smos.observability.dashboards import DashboardError, Panel, View, expand
from smos.observability.emit import Emitter
from smos.paths import compose_dir
from smos.provision.embedded.clickhouse import EmbeddedClickHouse
from smos.provision.embedded.otelcol import EmbeddedOtelcol
from smos.provision.owner import Owner
from smos.wait import wait_for

HERE = compose_dir() / "observability"
STACK = compose_dir() / "observability.yml"
BOARDS = dashboards.load_all()
PANELS = [
    pytest.param(panel, id=f"{panel.dashboard}-{panel.id}") for board in BOARDS for panel in board.panels
]


def yaml(name: str) -> dict:
    return YAML(typ="safe").load(HERE / name)


def test_the_manifest_has_exactly_the_components_that_the_configuration_uses() -> None:
    config, manifest = yaml("otel-collector-config.yaml"), yaml("builder.yml")
    used = {
        kind: {name.split("/")[0].replace("_", "") for name in config[kind]}
        for kind in ("receivers", "processors", "exporters", "extensions")
    }
    built = {
        kind: {
            re.sub(
                r"(receiver|processor|exporter|extension)$", "", one["gomod"].split()[0].rsplit("/", 1)[-1]
            )
            for one in manifest[kind]
        }
        for kind in used
    }
    assert built == used
    referred = {
        name for pipe in config["service"]["pipelines"].values() for part in pipe.values() for name in part
    }
    assert referred == {name for kind in ("receivers", "processors", "exporters") for name in config[kind]}
    versions = {one["gomod"].split()[1] for kind in used for one in manifest[kind]}
    assert versions == {f"v{manifest['dist']['version']}"}
    image = shipped(YAML(typ="safe").load(STACK)["services"]["smarter-otelcol"]["image"])
    assert image.endswith(f":{manifest['dist']['version']}")


def test_addresses_are_loopback_unless_the_environment_says_otherwise() -> None:
    text = (HERE / "otel-collector-config.yaml").read_text()
    assert "0.0.0.0" not in text  # noqa: S104  (that is what must not be there)
    defaults = re.findall(r"(?:endpoint|host): (?:http://)?\$\{env:\w+:-(?:http://)?([^}]+)\}", text)
    assert len(defaults) == 5
    assert all(value.startswith("127.0.0.1") for value in defaults)


def test_retention_comes_from_one_setting_of_72_hours() -> None:
    assert yaml("otel-collector-config.yaml")["exporters"]["clickhouse"]["ttl"] == "${env:TELEMETRY_TTL:-72h}"
    assert (HERE / "otel-collector-config.yaml").read_text().count("env:TELEMETRY_TTL") == 1
    assert "TELEMETRY_TTL: ${TELEMETRY_TTL:-72h}" in STACK.read_text()


def test_no_password_of_the_stack_has_a_default() -> None:
    text = STACK.read_text()
    for name in ("SENTRY_SECRET_KEY", "SENTRY_DSN", "GRAFANA_PASSWORD"):
        uses = re.findall(rf"\$\{{{name}(\W)", text)
        assert uses, name
        assert set(uses) == {":"}, name
        assert f"${{{name}:-" not in text, name
        assert f"${{{name}:?" in text, name
    assert "CLICKHOUSE_PASSWORD:-${GRAFANA_PASSWORD:?" in text
    for name in ("grafana-datasources.yaml", "otel-collector-config.yaml"):
        for value in re.findall(r"password: (.*)", (HERE / name).read_text()):
            assert re.fullmatch(r"\$\{(env:)?CLICKHOUSE_PASSWORD\}", value)


def test_the_stack_publishes_on_loopback_pins_its_images_and_has_its_names() -> None:
    stack = YAML(typ="safe").load(STACK)
    for name, service in stack["services"].items():
        assert name.startswith("smarter-")
        assert service["container_name"] == name
        assert re.search(r":v?\d+\.\d+\.\d+", service["image"]), service["image"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    for config in stack["configs"].values():
        if "file" in config:
            assert (compose_dir() / config["file"]).is_file()


def test_dashboards_are_the_five_and_link_to_each_other_only() -> None:
    assert {board.uid for board in BOARDS} == {
        f"smarteros-{name}" for name in ("service-overview", "traces", "disaster-recovery", "vault", "demo")
    }
    uids = {board.uid for board in BOARDS}
    for board in BOARDS:
        text = board.path.read_text()
        assert set(re.findall(r'"url": "/d/([\w-]+)', text)) <= uids
        given = json.loads(text)
        assert given["time"]["from"].startswith("now-")
        ids = [panel["id"] for panel in given["panels"]]
        assert len(ids) == len(set(ids))
        places = [
            {(x, y) for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])}
            for p in (panel["gridPos"] for panel in given["panels"])
        ]
        assert sum(len(place) for place in places) == len(set().union(*places)), "panels overlap"
        assert all(
            p["gridPos"]["x"] >= 0 and p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in given["panels"]
        )


@pytest.mark.parametrize("panel", PANELS)
def test_durations_are_converted_to_the_unit_that_the_panel_shows(panel: Panel) -> None:
    """Span durations are nanoseconds: /1e6 with ms, /1e9 with s, and no other use."""
    divisors = set(re.findall(r"Duration\)? / (1e\d)", panel.sql))
    units = {panel.unit, *panel.column_units.values()} - {""}
    if divisors == {"1e9"}:
        assert "s" in units
    elif divisors and panel.kind != "traces":
        assert divisors == {"1e6"}
        assert "ms" in units
    assert len(re.findall(r"Duration\)? /", panel.sql)) == len(
        re.findall(r"\bDuration\)?(?= /| AS )", panel.sql)
    )
    assert re.search(r"\$__timeFilter|'\$trace'", panel.sql), (
        "every query is bounded in time, or to one trace"
    )


def test_an_unknown_macro_or_variable_is_an_error_and_quotes_do_not_get_out() -> None:
    view = View(start=0, end=1, variables={"service": ["it's", "b"]})
    assert expand("x IN (${service:singlequote})", view) == "x IN ('it\\'s','b')"
    for sql in ("$__unknown", "$nobody", "${service}", "${service:csv}"):
        with pytest.raises(DashboardError):
            expand(sql, view)


@pytest.fixture(scope="module")
def telemetry() -> Iterator[ClickHouse]:
    """Give the real tables, made by the real collector, with some rows."""
    with Owner("test-dashboards") as owner:
        server = EmbeddedClickHouse(owner)
        server.start()
        collector = EmbeddedOtelcol(owner, server.endpoint)
        collector.start()
        run = secrets.token_hex(8)
        with Emitter(collector.endpoint, run=run, service="demo-shop") as emitter:
            emitter.spans(100)
            emitter.logs(100)
        with ClickHouse(server.endpoint) as client:
            for table in ("otel_traces", "otel_logs"):
                wait_for(
                    lambda table=table: client.value(f"SELECT count() FROM {table}") == 100,
                    what=f"{table} is filled",
                    deadline_s=120,
                )
            yield client


def look(telemetry: ClickHouse, panel: Panel, *, start: int | None = None) -> list[dict]:
    now = int(time.time())
    trace = telemetry.value("SELECT any(TraceId) FROM otel_traces")
    variables = {"service": ["demo-shop"], "target": ["self-test"], "min_ms": "0", "trace": trace}
    view = View(start=start or now - 3600, end=(start or now) + 60, variables=variables)
    return telemetry.rows(expand(panel.sql, view))


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_runs_on_the_collectors_tables(telemetry: ClickHouse, panel: Panel) -> None:
    rows = look(telemetry, panel)
    wanted = {
        "smarteros-service-overview-1": [{"requests": 10}],
        "smarteros-service-overview-2": [{"errors": 0}],
        "smarteros-service-overview-3": [{"p95": 5}],
        "smarteros-demo-1": [{"requests": 10}],
        "smarteros-demo-3": [{"p95": 5}],
    }.get(f"{panel.dashboard}-{panel.id}")
    if wanted is not None:
        assert rows == wanted
    if panel.kind == "timeseries":
        assert all("time" in row for row in rows)
    if panel.dashboard == "smarteros-traces" and panel.title == "The trace":
        assert len(rows) == 10
        assert {row["duration"] for row in rows} == {5}
        assert abs(int(rows[0]["startTime"]) / 1000 - time.time()) < 600


@pytest.mark.parametrize("panel", [one for one in PANELS if one.values[0].type == "stat"])
def test_a_panel_without_data_shows_no_number(telemetry: ClickHouse, panel: Panel) -> None:
    """An empty range: only counts may say 0; a recovery time or a latency of 0 would be a lie."""
    rows = look(telemetry, panel, start=1_000_000_000)
    if re.match(r"SELECT count(If)?\(", panel.sql) and " / " not in panel.sql:
        assert [list(row.values()) for row in rows] == [[0]]
    else:
        assert rows == []


def test_variables_of_the_dashboards_give_their_values(telemetry: ClickHouse) -> None:
    now = int(time.time())
    for board in BOARDS:
        for variable in board.variables:
            if variable.sql:
                rows = telemetry.rows(expand(variable.sql, View(start=now - 3600, end=now + 60)))
                assert ["demo-shop" for _ in rows] == [next(iter(row.values())) for row in rows], (
                    f"{board.uid} {variable.name}"
                )


def test_grafanas_alert_rules_run_and_give_a_number(telemetry: ClickHouse) -> None:
    given = yaml("grafana-alerting.yaml")
    rules = [rule for group in given["groups"] for rule in group["rules"]]
    assert len({rule["uid"] for rule in rules}) == len(rules) == 5
    assert {group["folder"] for group in given["groups"]} == {"SmarterOS"}
    for rule in rules:
        query, reduced, threshold = rule["data"]
        assert (query["refId"], reduced["refId"], threshold["refId"]) == ("A", "B", "C")
        assert rule["condition"] == "C"
        assert query["datasourceUid"] in {
            one["uid"] for one in yaml("grafana-datasources.yaml")["datasources"]
        }
        assert "$" not in query["model"]["rawSql"], "Grafana would replace it from its environment"
        for row in telemetry.rows(query["model"]["rawSql"]):
            assert isinstance(row["value"], int | float)
    errors = next(rule for rule in rules if rule["uid"] == "smarteros-latency")["data"][0]["model"]["rawSql"]
    assert telemetry.rows(errors.replace(">= 20", ">= 1")) == [{"service": "demo-shop", "value": 5}]
