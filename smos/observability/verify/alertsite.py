"""What alerts are made of and where they go: pages of metrics that can be made ill, and a webhook that remembers."""

import http.server
import json
import secrets
import threading
from collections.abc import Mapping
from typing import Any, Self

Pages = Mapping[str, str]
LARGEST_BYTES = 2**20


class AlertSite(http.server.ThreadingHTTPServer):
    """A site on loopback; a context manager. `pages`: path to metrics; a path that is not there answers 503.

    `hook`: the path, with a secret in it as chat services have it, that takes messages; every other one refuses.
    """

    daemon_threads = True

    def __init__(self, pages: Pages) -> None:
        self.pages = dict(pages)
        self.messages: list[dict[str, Any]] = []
        self.hook = f"/hook/{secrets.token_hex(8)}"
        self.token = secrets.token_hex(16)
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def place(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.server_port}"

    def told(self, status: str) -> set[str]:
        """Return the names of the alerts of which the webhook was told this status."""
        return {
            str(alert["labels"]["alertname"])
            for message in tuple(self.messages)
            for alert in message["alerts"]
            if alert["status"] == status
        }

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: AlertSite

    def do_GET(self) -> None:
        """Give metrics; Vault's only for its token."""
        path = self.path.partition("?")[0]
        page = self.server.pages.get(path)
        if path.startswith("/v1/") and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._answer(403, b"")
        elif page is None:
            self._answer(503, b"")
        else:
            self._answer(200, page.encode())

    def do_POST(self) -> None:
        """Take a message, where it belongs."""
        length = min(int(self.headers.get("Content-Length", "0")), LARGEST_BYTES)
        content = self.rfile.read(length)
        if self.path == self.server.hook:
            self.server.messages.append(json.loads(content))
        self._answer(200 if self.path == self.server.hook else 404, b"")

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
