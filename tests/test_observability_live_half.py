"""A live Grafana and a live Sentry are asked by their APIs; what is missing, forbidden or other is told apart."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from smos.checks.observability.exercise import exercise
from smos.observability import dashboards
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.probe import ObservabilityError
from smos.observability.verify.sentrylive import live_sentry
from smos.target import ObservabilityTarget
from smos.verdict import Judgement, Verdict


class Api(http.server.ThreadingHTTPServer):
    """Answers paths with JSON, for one token; without one 401."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict]] = {}
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives what was put there."""

    server: Api

    def do_GET(self) -> None:
        """Answer."""
        allowed = self.headers.get("Authorization") == "Bearer right"
        status, content = self.server.answers.get(self.path, (404, {})) if allowed else (401, {})
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def asked(target: ObservabilityTarget, check: str = "OBS-07") -> Judgement:
    def nobody() -> None:
        raise AssertionError

    return exercise(check, ObservabilityLab(find=nobody, owner=nobody, target=target))


def codes(judgement: Judgement) -> dict[str, Verdict]:
    return {item.code: item.verdict for item in judgement.findings if item.verdict is not Verdict.PASS}


def filled(api: Api) -> None:
    api.answers["/api/datasources/uid/clickhouse/health"] = (200, {"status": "OK"})
    for board in dashboards.load_all():
        content = json.loads(board.path.read_text())
        api.answers[f"/api/dashboards/uid/{board.uid}"] = (200, {"dashboard": content})


def test_a_live_grafana_that_is_as_shipped_leaves_only_what_needs_known_telemetry(
    api: Api, tmp_path: Path
) -> None:
    filled(api)
    target = ObservabilityTarget(grafana=api.url, grafana_token_file=private(tmp_path / "t", "right\n"))
    assert codes(asked(target)) == {"observability-live": Verdict.NOT_PROVEN}


def test_a_sick_data_source_and_a_changed_dashboard_fail(api: Api, tmp_path: Path) -> None:
    filled(api)
    api.answers["/api/datasources/uid/clickhouse/health"] = (400, {"status": "ERROR"})
    board = api.answers["/api/dashboards/uid/smarteros-vault"][1]["dashboard"]
    board["panels"] = board["panels"][1:]
    target = ObservabilityTarget(grafana=api.url, grafana_token_file=private(tmp_path / "t", "right"))
    found = codes(asked(target))
    assert found["dashboard-source"] is found["panel-missing"] is Verdict.FAIL


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"grafana": None}, "observability-no-address"),
        ({"grafana": "http://grafana.example.cl"}, "observability-no-tls"),
        ({"grafana_token_file": Path("/nonexistent")}, "observability-no-credentials"),
    ],
)
def test_what_a_target_lacks_is_not_proven(api: Api, tmp_path: Path, change: dict, code: str) -> None:
    given = {"grafana": api.url, "grafana_token_file": private(tmp_path / "t", "right")} | change
    assert codes(asked(ObservabilityTarget(**given))) == {code: Verdict.NOT_PROVEN}


def test_a_token_that_may_not_ask_is_no_failure_of_grafana(api: Api, tmp_path: Path) -> None:
    filled(api)
    target = ObservabilityTarget(grafana=api.url, grafana_token_file=private(tmp_path / "t", "wrong"))
    assert set(codes(asked(target)).values()) == {Verdict.NOT_PROVEN}


@pytest.mark.parametrize("check", ["OBS-06", "OBS-08", "OBS-11", "OBS-12"])
def test_what_can_only_be_shown_by_breaking_is_not_proven_live(check: str) -> None:
    assert codes(asked(ObservabilityTarget(), check)) == {"observability-live": Verdict.NOT_PROVEN}


def test_an_event_of_a_sentry_is_read_in_the_form_of_its_api(api: Api, tmp_path: Path) -> None:
    credentials = {"dsn": f"{api.url.replace('//', '//key@')}/3", "token": "right", "project": "org/shop"}
    target = ObservabilityTarget(
        sentry=api.url, sentry_credentials=private(tmp_path / "s", json.dumps(credentials))
    )
    server = live_sentry(target)
    event_id = "ab" * 16
    exception = {"values": [{"type": "OrderRefusedError", "value": "x"}]}
    api.answers[f"/api/0/projects/org/shop/events/{event_id}/"] = (
        200,
        {
            "entries": [{"type": "exception", "data": exception}],
            "tags": [{"key": "smos.run", "value": "r1"}, {"key": "environment", "value": "e"}],
        },
    )
    with server.reader() as reader:
        assert reader.event("00" * 16) is None
        event = server.normal(reader.event(event_id))
    assert event == {
        "exception": exception,
        "tags": {"smos.run": "r1", "environment": "e"},
        "environment": "e",
    }
    with pytest.raises(ObservabilityError, match="does not name"):
        live_sentry(ObservabilityTarget())
