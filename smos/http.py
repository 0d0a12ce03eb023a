"""What HTTP clients here share: trusted authorities (reading them costs 20 ms of processor each time), and an end."""

import os
import socket
import ssl
import threading
from functools import cache
from types import TracebackType
from typing import Any, Self

import httpx


@cache
def trust() -> ssl.SSLContext:
    """Return the context for `verify=`: what httpx trusts by itself, whatever the environment says."""
    return httpx.create_ssl_context(verify=True, trust_env=False)


class Deadline:
    """An end for a whole exchange, headers included; a context manager whose `extensions` go with the request.

    httpx bounds each read alone: a server that drips one byte a second would hold us for ever.
    When the time is over, the connection is shut down and the exchange fails with httpx.TransportError; `over` is set.
    """

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self.extensions = {"trace": self._trace}

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event not in {"connection.connect_tcp.complete", "connection.connect_unix_socket.complete"}:
            return
        connected: socket.socket = info["return_value"].get_extra_info("socket")
        # A copy of the descriptor: TLS takes the socket itself away.
        copy = socket.socket(fileno=os.dup(connected.fileno()))
        with self._lock:
            self._sockets.append(copy)
            if self.over:
                _shut(copy)

    def _end(self) -> None:
        with self._lock:
            self.over = True
            for connection in self._sockets:
                _shut(connection)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster: it is closed
