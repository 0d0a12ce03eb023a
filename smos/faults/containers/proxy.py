"""A TCP proxy on this machine, in a thread: it leads where nobody should get, or holds what it is given."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

Address = tuple[str, int]
PIECE_BYTES = 65536
CONNECT_S = 10.0
END_S = 10.0


@contextmanager
def tcp_proxy(listen: Address, upstream: Address) -> Iterator[None]:
    """Hand every connection to `listen` on to `upstream`, as long as the block. Raises OSError."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), socket.create_connection(upstream, CONNECT_S) as further:
                further.settimeout(None)
                back = threading.Thread(target=_copy, args=(further, self.request), daemon=True)
                back.start()
                _copy(self.request, further)
                back.join(END_S)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(listen, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(END_S)


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy one direction to its end; the other side learns of it."""
    with suppress(OSError):
        while data := source.recv(PIECE_BYTES):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
