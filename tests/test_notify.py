"""`smos notify slack` against a receiver on loopback that behaves as badly as networks do."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from smos.errors import AuthenticationError, SmosError, TargetError, UnreachableError
from smos.notify import slack
from smos.notify.message import SECTION_LIMIT, compose
from smos.notify.slack import send_by_token, send_by_webhook
from smos.verdict import Verdict
from tests._forked import run_smos

SMOS = Path(sys.executable).with_name("smos")
SECRET = "T00/B00/canary5513"


@dataclass
class Receiver:
    """answers: what to say, one after the other, the last one for ever: (status, headers, body) or "hang" or "drop"."""

    answers: list = field(default_factory=list)
    bodies: list = field(default_factory=list)
    port: int = 0

    @property
    def webhook(self) -> str:
        """Its address, with a secret in it as Slack's have."""
        return f"http://127.0.0.1:{self.port}/services/{SECRET}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state, stop = Receiver(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            answer = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            if answer == "hang":
                stop.wait(20)
                return
            if answer == "drop":
                self.connection.close()
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield state
        stop.set()
        server.shutdown()
        thread.join()


def reports(folder: Path, verdict: str = "FAIL", *, message: str = "it is gone", checks: int = 1) -> Path:
    failed = {
        "id": "DR-03",
        "title": "Every database restores",
        "verdict": verdict,
        "waiver": None,
        "findings": [{"code": "x", "message": message, "remedy": "bring it back", "verdict": verdict}],
    }
    proven = {"id": "DR-01", "title": "Backups exist", "verdict": "PASS", "waiver": None, "findings": []}
    run = {
        "run_id": "abc",
        "scope": "production",
        "target": "prod",
        "started": "2026-11-01",
        "verdict": verdict,
    }
    (folder / "verdict.json").write_text(json.dumps(run | {"checks": [proven, *[failed] * checks]}))
    times = {
        "run_id": "abc",
        "rto_actual_s": 61.0,
        "rto_objective_s": 14400,
        "rpo_actual_s": None,
        "rpo_objective_s": 86400,
    }
    (folder / "rto.json").write_text(json.dumps(times))
    return folder


OK = (200, {}, "ok")


def test_a_message_says_verdict_times_and_what_to_do(tmp_path: Path) -> None:
    message = compose(reports(tmp_path), link="https://ci.example/1")
    whole = json.dumps(message.blocks, ensure_ascii=False)
    for words in ("FAIL", "prod (production)", "1 proven, 1 failed", "1 min 1 s (objective 4 h 0 min)", "not measured",
                  "DR-03", "it is gone", "bring it back", "<https://ci.example/1|"):  # fmt: skip
        assert words in whole, words
    assert "Backups exist" not in whole
    assert message.verdict is Verdict.FAIL


def test_times_of_another_run_are_not_told(tmp_path: Path) -> None:
    reports(tmp_path)
    (tmp_path / "rto.json").write_text('{"run_id": "old", "rto_actual_s": 1, "rto_objective_s": 2}')
    assert "1.00 s" not in json.dumps(compose(tmp_path).blocks)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"verdict": "GREEN"}'])
def test_a_run_without_a_verdict_is_told_as_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "verdict.json").write_text(text)
    message = compose(tmp_path)
    assert message.verdict is Verdict.ERROR
    assert "nothing is known" in message.text


def test_what_a_finding_quotes_is_no_markup_and_no_secret(tmp_path: Path) -> None:
    hostile = "<!channel> table <https://evil.example|click> password=hunter22 & more"
    whole = json.dumps(compose(reports(tmp_path, message=hostile)).blocks)
    assert "<!channel>" not in whole
    assert "<https://evil" not in whole
    assert "hunter22" not in whole


def test_long_lists_keep_the_limits_of_slack(tmp_path: Path) -> None:
    message = compose(reports(tmp_path, message="x" * 5000, checks=40))
    assert all(len(item["text"]["text"]) <= SECTION_LIMIT + 2 for item in message.blocks if "text" in item)
    assert "30 more checks" in json.dumps(message.blocks)
    assert len(message.blocks) < 50


@pytest.mark.parametrize(
    "first",
    [
        (429, {"Retry-After": "1"}, "slow down"),
        (429, {"Retry-After": formatdate(time.time() - 5, usegmt=True)}, "a date"),
        (429, {"Retry-After": "soon"}, "nonsense"),
        (503, {}, "busy"),
        (502, {}, "bad gateway"),
        "drop",
    ],
    ids=["429", "429-date", "429-nonsense", "503", "502", "drop"],
)
def test_what_passes_is_tried_again(receiver: Receiver, tmp_path: Path, first: object) -> None:
    receiver.answers = [first, OK]
    send_by_webhook(compose(reports(tmp_path)), receiver.webhook, limit_s=30)
    assert len(receiver.bodies) == 2
    assert json.loads(receiver.bodies[1])["blocks"][0]["type"] == "header"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((404, {}, "no_service"), AuthenticationError),
        ((410, {}, "channel_is_archived"), AuthenticationError),
        ((400, {}, "invalid_blocks"), SmosError),
        ((500, {}, "server"), UnreachableError),
        ((429, {"Retry-After": "3600"}, ""), UnreachableError),
        ("drop", UnreachableError),
    ],
    ids=["404", "410", "400", "500", "429-an-hour", "drop"],
)
def test_what_stays_is_an_error_without_the_address(
    receiver: Receiver, tmp_path: Path, answer: object, kind: type[Exception]
) -> None:
    receiver.answers = [answer]
    started = time.monotonic()
    with pytest.raises(kind) as error:
        send_by_webhook(compose(reports(tmp_path)), receiver.webhook, limit_s=3)
    assert time.monotonic() - started < 60  # a limit against hangs
    assert "canary" not in str(error.value)
    if answer != "drop":
        assert len(receiver.bodies) == (
            1 if answer[0] in {400, 404, 410} or "Retry-After" in answer[1] else len(receiver.bodies)
        )


def test_a_receiver_that_hangs_is_left(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answers = ["hang"]
    monkeypatch.setattr(slack, "REQUEST_S", 1)
    with pytest.raises(UnreachableError, match="does not answer"):
        send_by_webhook(compose(reports(tmp_path)), receiver.webhook, limit_s=2)


def test_nothing_is_sent_in_the_clear(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="https"):
        send_by_webhook(compose(reports(tmp_path)), "http://hooks.example.com/x")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"ok": true, "ts": "1"}', None),
        ('{"ok": false, "error": "invalid_auth"}', AuthenticationError),
        ('{"ok": false, "error": "not_in_channel"}', TargetError),
        ('{"ok": false, "error": "odd"}', SmosError),
    ],
)
def test_a_bot_token_writes_to_a_channel(
    receiver: Receiver, tmp_path: Path, body: str, kind: type[Exception] | None
) -> None:
    receiver.answers = [(200, {"Content-Type": "application/json"}, body)]
    api = f"http://127.0.0.1:{receiver.port}/api/"

    def send() -> None:
        send_by_token(compose(reports(tmp_path)), "xoxb-canary", "#ops-alerts", api=api, limit_s=3)

    if kind is None:
        send()
        assert b"ops-alerts" in receiver.bodies[0]
    else:
        with pytest.raises(kind) as error:
            send()
        assert "canary" not in str(error.value)


def test_the_command_fails_when_nobody_was_told_and_leaves_the_evidence(
    receiver: Receiver, tmp_path: Path
) -> None:
    folder = reports(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SLACK_", "SMOS_"))} | {
        "SMOS_HOME": str(tmp_path / "home"),
        "SLACK_WEBHOOK_URL": receiver.webhook,
    }

    def smos(*args: str) -> subprocess.CompletedProcess[str]:
        return run_smos(["notify", "slack", "--reports", folder, "--timeout", "2", *args], env=env)

    receiver.answers = [OK]
    done = smos("--json")
    assert (done.returncode, json.loads(done.stdout)["sent"]) == (0, True)
    receiver.answers = [(500, {}, "")]
    done = smos("--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (4, "unreachable")
    assert "canary" not in done.stdout + done.stderr
    assert smos("--dry-run").returncode == 0
    assert smos("--channel", "#ops-alerts").returncode == 3
    env.pop("SLACK_WEBHOOK_URL")
    assert smos().returncode == 3
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
