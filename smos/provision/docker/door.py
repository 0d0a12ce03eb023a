"""Doors: how containers of one private network reach a listener on this machine's loopback.

Relays, webhooks and pages of a check listen on 127.0.0.1, where no container comes. A door listens on the network's
gateway address and hands every connection on to one loopback port, for peers of that network alone: containers of
other networks could send to this address too, and are turned away.
"""

import ipaddress
import socket
import socketserver
import threading
from contextlib import suppress
from typing import Any

from smos.errors import ProvisionError

PIECE_BYTES = 65536
CONNECT_S = 10.0
END_S = 10.0
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Door:
    """One door; it is open until `close`. address: `host:port` as containers write it. Raises ProvisionError."""

    def __init__(self, gateway: str, inside: Network, port: int) -> None:
        try:
            self._server = _Server((gateway, 0), inside, ("127.0.0.1", port))
        except OSError as error:
            raise ProvisionError(
                f"Nothing can listen on the private network's gateway {gateway}: {error.strerror}",
                remedy="the engine must run on this machine, in this network namespace",
            ) from error
        self.address = f"{gateway}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Close it; connections that are under way end with what they lead to."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(END_S)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, listen: tuple[str, int], inside: Network, upstream: tuple[str, int]) -> None:
        self._inside = inside
        self.upstream = upstream
        super().__init__(listen, _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002  (the base class' signature)
        """Let nobody in but the containers of this network."""
        return ipaddress.ip_address(client_address[0]) in self._inside

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a connection that breaks is told to both of its ends."""


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Hand what comes on, both ways; where nobody listens the connection ends, as it would there."""
        with suppress(OSError), socket.create_connection(self.server.upstream, CONNECT_S) as further:
            further.settimeout(None)
            back = threading.Thread(target=_copy, args=(further, self.request), daemon=True)
            back.start()
            _copy(self.request, further)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the end of one direction, and tell the other side about it."""
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
