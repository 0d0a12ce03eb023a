"""OTLP's protocol buffers, loaded when the first message is made: they come with the extra `observability`.

So the suite can be collected, and its faults listed, where the extra is not installed.
Source of the messages: https://github.com/open-telemetry/opentelemetry-proto
"""

from importlib import import_module
from typing import Any

_MODULES = (
    "trace.v1.trace_pb2",
    "metrics.v1.metrics_pb2",
    "logs.v1.logs_pb2",
    "common.v1.common_pb2",
    "resource.v1.resource_pb2",
    "collector.trace.v1.trace_service_pb2",
    "collector.metrics.v1.metrics_service_pb2",
    "collector.logs.v1.logs_service_pb2",
)


def __getattr__(name: str) -> Any:
    """Return a message or an enumeration by its name (PEP 562). Raises AttributeError, ModuleNotFoundError."""
    if name.startswith("_"):
        raise AttributeError(name)
    for module in _MODULES:
        found = getattr(import_module(f"opentelemetry.proto.{module}"), name, None)
        if found is not None:
            globals()[name] = found  # found at once from now on
            return found
    raise AttributeError(f"OTLP has no message {name}")
