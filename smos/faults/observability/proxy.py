"""A proxy between collector and ClickHouse, as platforms have them: it answers late, loses, or refuses inserts."""

import http.server
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.message import Message
from enum import Enum
from io import BufferedIOBase

import httpx

from smos.faults.observability.agent import http_server
from smos.provision.telemetry import ClickHouseEndpoint

REQUEST_S = 60.0
HOP = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that speak of one connection."""


REFUSAL = (
    b"Code: 241. DB::Exception: (MEMORY_LIMIT_EXCEEDED)",
    {"X-ClickHouse-Exception-Code": "241"},
)


class Act(Enum):
    """What is done with an insert. PASS: passed on. LATE: passed on, and never answered (the connection ends).

    LOSE: answered with success, and thrown away. REFUSE: answered with an error.
    """

    PASS = 1
    LATE = 2
    LOSE = 3
    REFUSE = 4


@dataclass(frozen=True, slots=True)
class Insert:
    """One insert: the table without its database, and how many there were of that table before."""

    table: str
    number: int


@contextmanager
def proxy(clickhouse: ClickHouseEndpoint, decide: Callable[[Insert], Act]) -> Iterator[ClickHouseEndpoint]:
    """Run a proxy as long as the block; give the endpoint that a collector is told."""
    seen: dict[str, int] = {}

    def act(path: str, body: bytes) -> Act:
        insert = _insert(path, body, seen)
        return decide(insert) if insert else Act.PASS

    with http_server(_handler(clickhouse, act)) as address:
        yield replace(clickhouse, url=f"http://{address}")


def _handler(
    clickhouse: ClickHouseEndpoint, decide: Callable[[str, bytes], Act]
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = _body(self.rfile, self.headers)
            act = decide(self.path, body)
            if act is Act.LOSE:
                self._answer(200, b"", {})
            elif act is Act.REFUSE:
                self._answer(500, *REFUSAL)
            else:
                status, content, headers = self._forward(body)
                if act is Act.LATE:
                    self.close_connection = True
                else:
                    self._answer(status, content, headers)

        do_GET = do_POST  # noqa: N815  (the base class' names)

        def _forward(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            with (
                httpx.Client(trust_env=False, timeout=REQUEST_S) as client,
                client.stream(
                    self.command, clickhouse.url + self.path, content=body, headers=headers
                ) as answer,
            ):
                content = b"".join(answer.iter_raw())
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
            return answer.status_code, content, kept

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _body(file: BufferedIOBase, headers: Message) -> bytes:
    """Read a request's body, in chunks or whole."""
    if "chunked" not in headers.get("Transfer-Encoding", ""):
        return file.read(int(headers.get("Content-Length", "0")))
    parts: list[bytes] = []
    while size := int(file.readline().split(b";")[0], 16):
        parts.append(file.read(size))
        file.readline()
    file.readline()
    return b"".join(parts)


def _insert(path: str, body: bytes, seen: dict[str, int]) -> Insert | None:
    """Return the insert that a request is, or None. The statement is in the URL, or at the start of the body."""
    given = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query).get("query", [""])[0]
    words = (given or body[:200].decode("utf-8", errors="replace")).split()
    if [word.upper() for word in words[:2]] != ["INSERT", "INTO"] or len(words) < 3:
        return None
    table = words[2].partition("(")[0].replace("`", "").replace('"', "").rsplit(".", 1)[-1]
    seen[table] = seen.get(table, 0) + 1
    return Insert(table, seen[table] - 1)
