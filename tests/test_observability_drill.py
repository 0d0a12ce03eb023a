"""The harness observes itself: lazily, bounded, and only where an endpoint is named."""

import socket
import subprocess
import sys
import time

import pytest

from smos.observability.drill import export_drill
from smos.observability.verify.example import example
from smos.target import Telemetry, resolve_telemetry


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_endpoint_that_refuses_costs_its_limit_and_is_told(
    protocol: str, capfd: pytest.CaptureFixture[str]
) -> None:
    drill = example("x")
    with socket.socket() as taken:  # nobody listens there, and nobody else can
        taken.bind(("127.0.0.1", 0))
        began = time.monotonic()
        sent = export_drill(
            Telemetry(endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}", protocol=protocol),
            drill.info, drill.outcome, drill.timing, limit_s=1,
        )  # fmt: skip
    assert time.monotonic() - began < 60
    assert (sent.spans, sent.points) == (0, 0)
    assert sent.words.startswith("The drill's telemetry was not sent: 127.0.0.1")
    assert capfd.readouterr().err == ""


def test_an_exporter_that_raises_when_its_channel_is_closed_is_told_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Closed:
        def export(self, _: object) -> None:
            raise ValueError("Cannot invoke RPC on closed channel!")

        def shutdown(self) -> None:
            pass

    monkeypatch.setattr("smos.observability.drill._exporters", lambda *_: (Closed(), Closed()))
    drill = example("x")
    given = Telemetry(endpoint="http://127.0.0.1:1", protocol="grpc")
    sent = export_drill(given, drill.info, drill.outcome, drill.timing, limit_s=60)
    assert (sent.spans, sent.reason) == (0, "127.0.0.1: its exporter raised ValueError")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("endpoint", ["http://[::bad", "http://127.0.0.1:99999", "https://"])
def test_an_endpoint_that_is_none_breaks_nothing(endpoint: str) -> None:
    drill = example("x")
    sent = export_drill(Telemetry(endpoint=endpoint), drill.info, drill.outcome, drill.timing, limit_s=1)
    assert sent.reason


def test_what_the_environment_says_is_read_once_and_never_stops_a_drill() -> None:
    name = "OTEL_EXPORTER_OTLP_ENDPOINT"
    assert resolve_telemetry({}).endpoint is None
    assert resolve_telemetry({name: "collector:4317"}).endpoint is None
    assert resolve_telemetry({name: "http://c:4318", "OTEL_SDK_DISABLED": "true"}).endpoint is None
    given = resolve_telemetry({name: "https://user:canary-1@c:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert (given.endpoint, given.protocol) == ("https://user:canary-1@c:4318", "grpc")
    assert "canary-1" not in repr(given)


def test_the_sdk_is_not_imported_before_something_is_sent() -> None:
    code = (
        "import sys, smos.observability.drill, smos.observability.verify.example;"
        "print([n for n in sys.modules if n.startswith(('opentelemetry', 'grpc'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
