"""One of two small web services, instrumented by the OpenTelemetry SDK as an application's developer would do it.

The one with `next` calls the other for every order (W3C trace context in the headers); the one with `dsn` writes the
order into PostgreSQL. Started with the path of a JSON file:

    {"name": "shop-web", "port": 18080, "run": "…", "otlp": {"protocol": "grpc", "endpoint": "http://127.0.0.1:4317"},
     "next": "http://127.0.0.1:18081", "dsn": "", "habits": []}

habits: what a service that was badly instrumented does, for negative controls: "bare-thread" logs from a thread
without context, "no-database-span", "one-context" keeps the first request's context for all that follow.
"""

import json
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

CALL_S = 20
TRACE_HEADER = "X-Trace-Id"
"""Tells the client which trace its request became: the ledger of who asks."""


class Shop:
    """What the handler needs: tracer, logger, where to go next."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.habits = frozenset(config["habits"])
        resource = Resource.create({"service.name": config["name"], "smos.run": config["run"]})
        spans, logs = exporters(**config["otlp"])
        self.traces = TracerProvider(resource=resource)
        self.traces.add_span_processor(BatchSpanProcessor(spans))
        trace.set_tracer_provider(self.traces)
        self.logs = LoggerProvider(resource=resource)
        self.logs.add_log_record_processor(BatchLogRecordProcessor(logs))
        self.tracer = trace.get_tracer("smos.shop")
        self.log = self.logs.get_logger("smos.shop")
        self.kept: Any = None
        self.database: Any = None
        if config["dsn"]:
            import psycopg  # the other service starts sooner without it

            self.database = psycopg

    def order(self, headers: Any, number: str) -> str:
        """Take one order; return the id of the trace that it became."""
        incoming = propagate.extract({name.lower(): value for name, value in headers.items()})
        if "one-context" in self.habits and self.kept is not None:
            incoming = self.kept
        token = context.attach(incoming)
        try:
            with self.tracer.start_as_current_span(
                f"POST {self.config['name']}", kind=SpanKind.SERVER
            ) as span:
                self.kept = self.kept or context.get_current()
                self.say(f"order {number} is taken")
                if self.config["next"]:
                    self.forward(number)
                if self.config["dsn"]:
                    self.store(number, span)
                return trace.format_trace_id(span.get_span_context().trace_id)
        finally:
            context.detach(token)

    def say(self, text: str) -> None:
        """Log one line."""
        if "bare-thread" in self.habits:
            thread = threading.Thread(target=self.record, args=(text,))
            thread.start()
            thread.join()
        else:
            self.record(text)

    def record(self, text: str) -> None:
        """Hand a record to the SDK, which adds the ids of the current span."""
        self.log.emit(
            timestamp=time.time_ns(), severity_number=SeverityNumber.INFO, severity_text="INFO", body=text
        )

    def forward(self, number: str) -> None:
        """Let the next service do its part."""
        with self.tracer.start_as_current_span("call the stock", kind=SpanKind.CLIENT):
            headers: dict[str, str] = {}
            propagate.inject(headers)
            post(f"{self.config['next']}/order/{number}", headers)

    def store(self, number: str, server: Any) -> None:
        """Write the order into the database, with the trace that it belongs to."""
        told = trace.format_trace_id(server.get_span_context().trace_id)
        statement = "INSERT INTO orders (run, number, trace) VALUES (%s, %s, %s)"

        def write() -> None:
            with self.database.connect(self.config["dsn"]) as connection:
                connection.execute(statement, (self.config["run"], int(number), told))

        if "no-database-span" in self.habits:
            write()
            return
        attributes = {
            "db.system.name": "postgresql",
            "db.operation.name": "INSERT",
            "db.query.text": statement,
        }
        with self.tracer.start_as_current_span("INSERT orders", kind=SpanKind.CLIENT, attributes=attributes):
            write()


def exporters(protocol: str, endpoint: str) -> tuple[Any, Any]:
    """Return the exporters of spans and logs."""
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans

        plain = not endpoint.startswith("https://")
        return GrpcSpans(endpoint=endpoint, insecure=plain), GrpcLogs(endpoint=endpoint, insecure=plain)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans

    return HttpSpans(endpoint=f"{endpoint}/v1/traces"), HttpLogs(endpoint=f"{endpoint}/v1/logs")


def post(url: str, headers: dict[str, str]) -> None:
    """Call another service on loopback."""
    request = urllib.request.Request(url, method="POST", headers=headers, data=b"")  # noqa: S310  (always http://)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=CALL_S) as answer:
        answer.read()


def handler(shop: Shop) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers requests: POST /order/N, POST /flush, GET /."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200)

        def do_POST(self) -> None:
            if self.path == "/flush":
                whole = shop.traces.force_flush() and shop.logs.force_flush()
                self.answer(200 if whole else 500)
            else:
                self.answer(200, shop.order(self.headers, self.path.rsplit("/", 1)[-1]))

        def answer(self, status: int, told: str = "") -> None:
            self.send_response(status)
            self.send_header(TRACE_HEADER, told)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: what is logged goes by OTLP."""

    return Handler


def main(path: Path) -> None:
    """Serve until the process is ended."""
    config = json.loads(path.read_text(encoding="utf-8"))
    shop = Shop(config)
    with ThreadingHTTPServer(("127.0.0.1", config["port"]), handler(shop)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
