"""Alerts through a real Prometheus and a real Alertmanager, with the shipped rules."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from smos.errors import ProvisionError
from smos.provision.embedded import prometheus
from smos.provision.embedded.prometheus import EmbeddedAlertmanager, EmbeddedPrometheus, check_rules, shipped
from smos.provision.owner import Owner
from smos.wait import wait_for

HEALTHY = (
    'otelcol_exporter_queue_size{data_type="logs"} 1\notelcol_exporter_queue_capacity{data_type="logs"} 100\n'
)
FULL = HEALTHY.replace("} 1\n", "} 90\n", 1)


class Site(http.server.ThreadingHTTPServer):
    """What is scraped, and the webhook."""

    metrics = HEALTHY

    def __init__(self) -> None:
        self.received: list[dict] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def told(self, status: str, name: str) -> list[dict]:
        """Return the alerts of this name and status that the webhook got."""
        alerts = [alert for message in self.received for alert in message["alerts"]]
        return [a for a in alerts if a["status"] == status and a["labels"]["alertname"] == name]


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the metrics and takes the webhook's messages."""

    server: Site

    def do_GET(self) -> None:
        """Give the metrics."""
        self.answer(self.server.metrics.encode())

    def do_POST(self) -> None:
        """Take a message."""
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        """Send 200 with this body."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        threading.Thread(target=site.serve_forever).start()
        yield site
        site.shutdown()


def test_an_alert_fires_reaches_the_webhook_and_resolves(site: Site) -> None:
    with Owner("test-alerts") as owner:
        place = f"127.0.0.1:{site.server_port}"
        alertmanager = EmbeddedAlertmanager(owner, f"http://{place}/hook?token=canary-7f3a")
        server = EmbeddedPrometheus(owner, {"otelcol": [place]}, alertmanager=alertmanager.endpoint)
        alertmanager.start()
        server.start()

        def up() -> bool:
            answer = httpx.get(f"{server.endpoint.url}/api/v1/query", params={"query": "up"}, trust_env=False)
            return [one["value"][1] for one in answer.json()["data"]["result"]] == ["1"]

        wait_for(
            up, what="the target is scraped", deadline_s=120, transient=(httpx.TransportError, ValueError)
        )
        assert site.received == []
        site.metrics = FULL
        (fired, *_) = wait_for(
            lambda: site.told("firing", "TelemetryQueueFilling"), what="it fires", deadline_s=120
        )
        assert fired["annotations"]["summary"] == "The queue for logs is 90% full"
        assert fired["labels"]["severity"] == "warning"
        site.metrics = HEALTHY
        wait_for(lambda: site.told("resolved", "TelemetryQueueFilling"), what="it resolves", deadline_s=120)
        assert "canary-7f3a" not in alertmanager.logs() + server.logs()


def test_the_tests_of_the_rules_pass_and_see_a_rule_that_was_changed(tmp_path: Path) -> None:
    with Owner("test-rules") as owner:
        assert "SUCCESS" in check_rules(owner)
        tests = tmp_path / "changed.test.yml"
        text = shipped("prometheus-rules.test.yml").read_text()
        tests.write_text(text.replace("The queue for traces is 60% full", "The queue for traces is 61% full"))
        with pytest.raises(ProvisionError, match="exit code 1"):
            check_rules(owner, tests)


def test_every_rule_has_a_test_that_sees_it_fire_and_one_that_does_not() -> None:
    rules = prometheus._loaded(shipped("prometheus-rules.yml"))
    tests = prometheus._loaded(shipped("prometheus-rules.test.yml"))
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    assert fired == names
    quiet = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert names - quiet <= {"RecoveryPointAboveObjective"}
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert set(rule["annotations"]) == {"summary", "remedy"}
