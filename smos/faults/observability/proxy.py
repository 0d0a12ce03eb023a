"""A proxy between collector and ClickHouse, as platforms have them: it answers late, loses, or refuses inserts."""

import http.server
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.message import Message
from enum import Enum
from io import BufferedIOBase

import httpx

from smos.faults.observability.agent import http_server
from smos.http import trust
from smos.provision.telemetry import ClickHouseEndpoint

REQUEST_S = 120.0
MANY = httpx.Limits(max_connections=None, max_keepalive_connections=0)
HOP = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that speak of one connection."""


REFUSAL = (
    b"Code: 241. DB::Exception: (MEMORY_LIMIT_EXCEEDED)",
    {"X-ClickHouse-Exception-Code": "241"},
)


class Act(Enum):
    """What is done with an insert. PASS: passed on. LATE: passed on, and never answered (the connection ends).

    LOSE: answered with success, and thrown away, when ClickHouse answers at all. REFUSE: answered with an error.
    """

    PASS = 1
    LATE = 2
    LOSE = 3
    REFUSE = 4


@dataclass(frozen=True, slots=True)
class Insert:
    """One insert: the table without its database, and how many of that table came to their end before.

    One that ClickHouse did not take (it is down) does not count: it comes again, and is the same insert.
    """

    table: str
    number: int


@contextmanager
def proxy(clickhouse: ClickHouseEndpoint, decide: Callable[[Insert], Act]) -> Iterator[ClickHouseEndpoint]:
    """Run a proxy as long as the block; give the endpoint that a collector is told."""
    with (
        httpx.Client(
            base_url=clickhouse.url, trust_env=False, verify=trust(), timeout=REQUEST_S, limits=MANY
        ) as client,
        http_server(_handler(client, decide)) as address,
    ):
        yield replace(clickhouse, url=f"http://{address}")


def _handler(
    client: httpx.Client, decide: Callable[[Insert], Act]
) -> type[http.server.BaseHTTPRequestHandler]:
    done: Counter[str] = Counter()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = _body(self.rfile, self.headers)
            table = _table(self.path, body)
            act = decide(Insert(table, done[table])) if table else Act.PASS
            if act is Act.REFUSE:
                done[table] += 1
                self._answer(500, *REFUSAL)
                return
            path, body = ("/ping", b"") if act is Act.LOSE else (self.path, body)
            try:
                answer = _forward(client, self.command, path, body, self.headers)
            except httpx.TransportError:  # nobody is there: the sender sees what it would see without a proxy
                self.close_connection = True
                return
            taken = answer[0] == httpx.codes.OK
            done[table] += taken
            if taken and act is Act.LATE:
                self.close_connection = True
            else:
                self._answer(*((200, b"", {}) if taken and act is Act.LOSE else answer))

        do_GET = do_POST  # noqa: N815  (the base class' names)

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


def _forward(
    client: httpx.Client, method: str, path: str, body: bytes, headers: Message
) -> tuple[int, bytes, dict[str, str]]:
    """Pass a request on; return the answer's status, its body as it was packed, and its headers."""
    given = {name: value for name, value in headers.items() if name.lower() not in HOP}
    with client.stream(method, path, content=body, headers=given) as answer:
        content = b"".join(answer.iter_raw())
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
    return answer.status_code, content, kept


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


def _table(path: str, body: bytes) -> str:
    """Return the table that a request inserts into, "" where it is none.

    The statement is in the URL, or at the start of the body.
    """
    given = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query).get("query", [""])[0]
    words = (given or body[:200].decode("utf-8", errors="replace")).split()
    if [word.upper() for word in words[:2]] != ["INSERT", "INTO"] or len(words) < 3:
        return ""
    return words[2].partition("(")[0].replace("`", "").replace('"', "").rsplit(".", 1)[-1]
