"""The HTTP side: requests in, statements to the engine, answers out."""

import base64
import binascii
import hmac
import json
import re
import sys
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .engine import Engine, EngineError, Statement, split
from .frames import FrameError, decode, frame, unframe
from .native import UnsupportedTypeError, for_protocol

LARGEST_BODY = 1 << 30
"""Bytes of a request."""
IDLE_S = 600
"""Seconds that a client's connection may be idle."""
OF_HTTP = frozenset({
    "query", "database", "user", "password", "quota_key", "query_id", "session_id", "session_timeout",
    "session_check", "default_format", "compress", "decompress", "buffer_size", "client_protocol_version", "role",
    "stacktrace", "close_session", "wait_end_of_query",
})  # fmt: skip
"""Parameters of the URL that belong to the HTTP interface; `param_*` are the statement's; the others settings."""
AUTHENTICATION_FAILED = 516
STATUSES = {
    AUTHENTICATION_FAILED: HTTPStatus.FORBIDDEN,
    60: HTTPStatus.NOT_FOUND,  # UNKNOWN_TABLE
    81: HTTPStatus.NOT_FOUND,  # UNKNOWN_DATABASE
    46: HTTPStatus.NOT_FOUND,  # UNKNOWN_FUNCTION
    47: HTTPStatus.NOT_FOUND,  # UNKNOWN_IDENTIFIER
    62: HTTPStatus.BAD_REQUEST,  # SYNTAX_ERROR
    36: HTTPStatus.BAD_REQUEST,  # BAD_ARGUMENTS
    33: HTTPStatus.BAD_REQUEST,  # CANNOT_READ_ALL_DATA
}
TOKEN = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may ask: one user."""

    user: str
    password: str

    def allows(self, user: str, password: str) -> bool:
        """Whether these are the right ones, in constant time."""
        return hmac.compare_digest(user.encode(), self.user.encode()) & hmac.compare_digest(
            password.encode(), self.password.encode()
        )


class Front(ThreadingHTTPServer):
    """Listens on loopback, or on `address` in a container; a thread and an engine connection for each client."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, engine: Engine, access: Access, *, address: str = "127.0.0.1") -> None:
        self.engine = engine
        self.access = access
        super().__init__((address, port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong with a client; one that went away is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class BodyError(ValueError):
    """The body is cut or too large."""


class Handler(BaseHTTPRequestHandler):
    """One client."""

    server: Front
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits some 40 ms for the client's ACK
    wbufsize = -1
    timeout = IDLE_S

    def finish(self) -> None:
        """Give the engine's connection back when the client has gone."""
        self.server.engine.release()
        super().finish()

    def do_GET(self) -> None:
        """Answer a query in the URL, and `/ping`."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a statement in the body, or take data for one in the URL."""
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in http.server)
        """Log nothing: URLs may carry a password."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        given = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            body = self._body()
        except (BodyError, ValueError) as error:
            self.close_connection = True
            self._refuse(HTTPStatus.BAD_REQUEST, 33, str(error))
            return
        if url.path in {"/ping", "/replicas_status"}:
            self._send(HTTPStatus.OK, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
            return
        if not self.server.access.allows(*self._credentials(given)):
            self._refuse(
                HTTPStatus.FORBIDDEN,
                AUTHENTICATION_FAILED,
                "Authentication failed: password is incorrect, or there is no user with such name",
            )
            return
        try:
            self._run(given, body)
        except EngineError as error:
            status = STATUSES.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
            self._refuse(status, error.code, str(error))
        except (FrameError, UnicodeDecodeError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, 271, f"CANNOT_DECOMPRESS: {error}")
        except UnsupportedTypeError as error:
            self._refuse(HTTPStatus.NOT_IMPLEMENTED, 48, f"NOT_IMPLEMENTED: {error}")

    def _run(self, given: dict[str, str], body: bytes) -> None:
        body = decode(body, self.headers.get("Content-Encoding", "").strip().lower())
        if given.get("decompress") == "1":
            body = unframe(body)
        if "query" in given:
            text, data = given["query"], body or None
        else:
            text, data = split(body)
        if not text.strip():
            raise EngineError("Code: 62. DB::Exception: Syntax error: Empty query. (SYNTAX_ERROR)", 62)
        answer = self.server.engine.run(
            Statement(
                text=text,
                data=data,
                database=self.headers.get("X-ClickHouse-Database") or given.get("database") or "default",
                format=self.headers.get("X-ClickHouse-Format")
                or given.get("default_format")
                or "TabSeparated",
                settings={
                    name: value
                    for name, value in given.items()
                    if name not in OF_HTTP and not name.startswith("param_")
                },
                parameters={
                    name.removeprefix("param_"): value
                    for name, value in given.items()
                    if name.startswith("param_")
                },
            )
        )
        content = answer.body
        if answer.format == "Native" and given.get("client_protocol_version", "").isdigit():
            content = for_protocol(content, int(given["client_protocol_version"]))
        if given.get("compress") == "1":
            content = frame(content)
        summary = {"read_rows": str(answer.read_rows), "written_rows": str(answer.written_rows)}
        self._send(
            HTTPStatus.OK,
            content,
            {
                "Content-Type": "text/tab-separated-values; charset=UTF-8",
                "X-ClickHouse-Format": answer.format,
                "X-ClickHouse-Query-Id": TOKEN.sub("", given.get("query_id", "")) or str(uuid.uuid4()),
                "X-ClickHouse-Summary": json.dumps(summary),
                "X-ClickHouse-Timezone": "UTC",
                "X-ClickHouse-Server-Display-Name": "embedded",
            },
        )

    def _credentials(self, given: dict[str, str]) -> tuple[str, str]:
        headers = self.headers
        if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
            return headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return "", ""
            return user, password
        return given.get("user", "default"), given.get("password", "")

    def _body(self) -> bytes:
        """Read the whole request before anything is done with it: a client that died inserts nothing."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 <= size <= LARGEST_BODY:
            raise BodyError(f"a body of {size} bytes is not taken")
        body = self.rfile.read(size)
        if len(body) != size:
            raise BodyError("the body is cut")
        return body

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            size = int(self.rfile.readline(1024).split(b";")[0], 16)
            if size < 0 or len(body) + size > LARGEST_BODY:
                raise BodyError("the body is too large")
            if size == 0:
                break
            piece = self.rfile.read(size)
            if len(piece) != size or self.rfile.read(2) != b"\r\n":
                raise BodyError("the body is cut")
            body += piece
        while self.rfile.readline(1 << 16) not in {b"\r\n", b"\n", b""}:
            pass  # trailers
        return bytes(body)

    def _refuse(self, status: HTTPStatus, code: int, message: str) -> None:
        if not message.startswith("Code:"):
            message = f"Code: {code}. DB::Exception: {message}"
        content = (message + "\n").encode()
        if "compress=1" in urlsplit(self.path).query.split("&"):  # errors, too, come as the client asked
            content = frame(content)
        self._send(status, content, {"X-ClickHouse-Exception-Code": str(code)})

    def _send(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
