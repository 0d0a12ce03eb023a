"""HTTP over a Unix socket for `requests`, on top of requests-unixsocket2.

Two things differ from the library's own adapter: a socket that nobody listens on is closed at once (there it
waits for the garbage collector, which warns), and one pool serves all paths of a server (there every URL has
its own, so no connection is ever used again for another path).
"""

import socket
from typing import Any
from urllib.parse import unquote, urlsplit

from requests_unixsocket.adapters import UnixAdapter, UnixHTTPConnection, UnixHTTPConnectionPool


class _Connection(UnixHTTPConnection):
    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(unquote(urlsplit(self.unix_socket_url).netloc))
        except BaseException:
            sock.close()
            raise
        self.sock = sock


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> _Connection:
        return _Connection(self.socket_path, self.timeout)  # type: ignore[no-untyped-call]  # not annotated there


class SocketAdapter(UnixAdapter):
    """Mount it at `http+unix://`."""

    def get_connection(self, url: str | bytes, proxies: Any = None) -> _Pool:
        """Return the pool of the server that the URL names by its socket; proxies do not exist here."""
        del proxies
        text = url.decode() if isinstance(url, bytes) else url
        server = f"http+unix://{urlsplit(text).netloc}"
        with self.pools.lock:
            pool = self.pools.get(server)
            if pool is None:
                pool = self.pools[server] = _Pool(server, self.timeout)  # type: ignore[no-untyped-call]
        return pool
