"""An agent between senders and collector, as platforms have them: it samples, filters, repeats, renames, sets times.

It speaks OTLP over gRPC and HTTP, changes each request as it is told, and passes it on to the real collector. What it
swallows it acknowledges, as a sampler does.
"""

import http.server
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from smos.http import trust
from smos.provision.telemetry import CollectorEndpoint

REQUEST_S = 120.0
Change = Callable[[str, Any], list[Any]]
"""From (signal, request) to the requests that are passed on: none, the changed one, or several."""


@contextmanager
def agent(collector: CollectorEndpoint, change: Change) -> Iterator[CollectorEndpoint]:
    """Run an agent as long as the block; give where senders reach it. Its metrics are the collector's own."""
    import grpc

    pool = ThreadPoolExecutor(max_workers=4)
    channel = grpc.insecure_channel(collector.grpc, options=[("grpc.enable_http_proxy", 0)])
    server = grpc.server(pool)
    server.add_generic_rpc_handlers((_handler(channel, change),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with http_server(_web(collector, change)) as address:
        try:
            yield CollectorEndpoint(
                grpc=f"127.0.0.1:{port}",
                http=f"http://{address}",
                health=collector.health,
                metrics=collector.metrics,
            )
        finally:
            server.stop(grace=None).wait()
            channel.close()
            pool.shutdown()


@contextmanager
def http_server(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port of loopback as long as the block; give its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _handler(channel: Any, change: Change) -> Any:
    """Return the gRPC side: bytes in, bytes out, for the three services."""
    import grpc

    from smos.observability import otlp
    from smos.observability.emit import ANSWERS, METHODS

    signals = {path: signal for signal, path in METHODS.items()}

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # untyped upstream
        def service(self, details: Any) -> Any:
            signal = signals[details.method]

            def export(data: bytes, _context: Any) -> bytes:
                answer: bytes = getattr(otlp, ANSWERS[signal])().SerializeToString()
                for request in change(signal, _parsed(signal, data)):
                    call = channel.unary_unary(METHODS[signal])
                    answer = call(request.SerializeToString(), timeout=REQUEST_S)
                return answer

            return grpc.unary_unary_rpc_method_handler(export)

    return Handler()


def _web(collector: CollectorEndpoint, change: Change) -> type[http.server.BaseHTTPRequestHandler]:
    """Return the HTTP side."""
    import httpx

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            signal = self.path.rsplit("/", 1)[-1]
            data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status = 200
            for request in change(signal, _parsed(signal, data)):
                answer = httpx.post(
                    f"{collector.http}/v1/{signal}",
                    content=request.SerializeToString(),
                    headers={"Content-Type": "application/x-protobuf"},
                    timeout=REQUEST_S,
                    trust_env=False,
                    verify=trust(),
                )
                status = answer.status_code
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _parsed(signal: str, data: bytes) -> Any:
    """Return the request that a sender sent."""
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    kinds: dict[str, Any] = {
        "traces": trace_service_pb2.ExportTraceServiceRequest,
        "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
        "logs": logs_service_pb2.ExportLogsServiceRequest,
    }
    return kinds[signal].FromString(data)


def resources(request: Any) -> Iterator[Any]:
    """Yield the resources of a request."""
    for field in ("resource_spans", "resource_metrics", "resource_logs"):
        yield from (item.resource for item in getattr(request, field, ()))


def items(signal: str, request: Any) -> Iterator[tuple[str, Any]]:
    """Yield (service, repeated field of items) for every part of a request; the field can be changed in place."""
    groups = {
        "traces": ("resource_spans", "scope_spans"),
        "metrics": ("resource_metrics", "scope_metrics"),
        "logs": ("resource_logs", "scope_logs"),
    }
    outer, inner = groups[signal]
    for group in getattr(request, outer):
        service = next(
            (a.value.string_value for a in group.resource.attributes if a.key == "service.name"), ""
        )
        for scope in getattr(group, inner):
            if signal == "traces":
                yield service, scope.spans
            elif signal == "logs":
                yield service, scope.log_records
            else:
                yield from ((service, metric.sum.data_points) for metric in scope.metrics)


def keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    """Leave in a repeated field what is wanted."""
    left = [item for item in field if wanted(item)]
    del field[:]
    field.extend(left)
