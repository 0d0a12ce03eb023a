"""A reverse proxy before a server that is asked by HTTP: it may change requests and answers, or answer itself."""

import gzip
import http.server
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message

import httpx

from smos.faults.observability.agent import http_server

REQUEST_S = 120.0
HOP = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "content-encoding", "accept-encoding"}
)
"""Headers that speak of one connection, or of how its content was packed."""


@dataclass(slots=True)
class Asked:
    """One request, as it arrived; it may be changed in place."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Answered:
    """One answer; it may be changed in place."""

    status: int
    body: bytes
    kind: str = "text/plain"


Before = Callable[[Asked], Answered | None]
"""May change a request, or answer it itself."""
After = Callable[[Asked, Answered], object]
"""May change an answer."""


@contextmanager
def relay(
    upstream: str, *, before: Before = lambda _: None, after: After = lambda _, __: None
) -> Iterator[str]:
    """Run a proxy as long as the block; give its `host:port`. upstream: base URL; its certificate is not checked."""
    with httpx.Client(base_url=upstream, timeout=REQUEST_S, trust_env=False, verify=_unchecked()) as client:

        def act(asked: Asked) -> Answered:
            answered = before(asked)
            if answered is None:
                answer = client.request(
                    asked.method, asked.path, headers=asked.headers, content=asked.body or None
                )
                answered = Answered(
                    answer.status_code, answer.content, answer.headers.get("content-type", "")
                )
            after(asked, answered)
            return answered

        with http_server(_handler(act)) as address:
            yield address


def _handler(act: Callable[[Asked], Answered]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass()

        def do_POST(self) -> None:
            self._pass()

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            answered = act(Asked(self.command, self.path, _kept(self.headers), body))
            self.send_response(answered.status)
            self.send_header("Content-Type", answered.kind)
            self.send_header("Content-Length", str(len(answered.body)))
            self.end_headers()
            self.wfile.write(answered.body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _kept(headers: Message) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP}


def _unchecked() -> ssl.SSLContext:
    """Return a context that trusts anybody: what is asked stands on this machine, with a certificate of its own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
