"""A wire that lies: it changes the requests to a Vault, or its answers, as a broken server or set-up would.

The server behind it is a real one: a key that was made without derivation because the wire dropped that word really
is a key without derivation.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import hvac
import requests
from requests.adapters import BaseAdapter

from smos.vault.model import VaultEndpoint


@dataclass(slots=True)
class Message:
    """One request. path: below /v1/, without a query. body: decoded JSON, {} where there is none."""

    method: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Reply:
    """One answer. body: decoded JSON, {} where there is none. text: what came instead of JSON (metrics)."""

    status: int
    body: dict[str, Any]
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meddler:
    """request: changes a message in place before it is sent. reply: changes (or replaces) the answer to it.

    instead: answers a message without asking the server; None: the server is asked.
    """

    request: Callable[[Message], object] | None = None
    reply: Callable[[Message, Reply], Reply | None] | None = None
    instead: Callable[[Message], Reply | None] | None = None


@dataclass(frozen=True, slots=True)
class Meddled:
    """An endpoint whose clients speak through a meddler."""

    endpoint: VaultEndpoint
    meddler: Meddler

    def client(self, token: str | None = None) -> hvac.Client:
        """Return a client of the true server behind the wire."""
        client = self.endpoint.client(token)
        inner = client.session.get_adapter(client.url)
        client.session.mount(client.url.partition("://")[0] + "://", _Wire(inner, self.meddler))
        return client


class _Wire(BaseAdapter):
    def __init__(self, inner: BaseAdapter, meddler: Meddler) -> None:
        super().__init__()
        self._inner = inner
        self._meddler = meddler

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request through the meddler."""
        message = _read(request)
        meddler = self._meddler
        if meddler.request is not None:
            before = (message.path, json.dumps(message.body), dict(message.headers))
            meddler.request(message)
            if before != (message.path, json.dumps(message.body), message.headers):
                _write(request, message)
        made = meddler.instead(message) if meddler.instead is not None else None
        if made is not None:
            response = requests.Response()
            response.request = request
            response.url = str(request.url)
            response.encoding = "utf-8"
            return _answer(response, made)
        response = self._inner.send(request, *args, **kwargs)
        if meddler.reply is None:
            return response
        body = _json(response.content)
        reply = Reply(response.status_code, body, None if body else response.text)
        return _answer(response, meddler.reply(message, reply) or reply)

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, verify: Any) -> "_Pool":
        """Return the pool below it, for drivers that ask that directly (smos/vault/access.py)."""
        return _Pool(self._inner.get_connection_with_tls_context(request, verify), self._meddler)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close the connections behind it."""
        self._inner.close()


@dataclass(frozen=True, slots=True)
class _Raw:
    """An answer as urllib3 gives it, as far as it is looked at."""

    status: int
    data: bytes


class _Pool:
    """A pool of urllib3 behind the wire. Only answers are changed here: no fault needs more of it."""

    def __init__(self, inner: Any, meddler: Meddler) -> None:
        self._inner = inner
        self._meddler = meddler

    def urlopen(self, method: str, url: str, *, body: bytes | None = None, **more: Any) -> _Raw:
        """Send one request."""
        answer = self._inner.urlopen(method, url, body=body, **more)
        message = Message(method, url.removeprefix("/v1/"), _json(body or b""))
        change = self._meddler.reply
        reply = Reply(answer.status, _json(answer.data))
        made = change(message, reply) if change is not None else None
        made = made or reply
        return _Raw(made.status, json.dumps(made.body).encode())


def _read(request: requests.PreparedRequest) -> Message:
    path = str(request.url).partition("/v1/")[2].partition("?")[0]
    body = request.body if isinstance(request.body, (bytes, str)) else b""
    return Message(str(request.method), path, _json(body), dict(request.headers))


def _write(request: requests.PreparedRequest, message: Message) -> None:
    url = str(request.url)
    _, mark, query = url.partition("?")
    request.url = f"{url.partition('/v1/')[0]}/v1/{message.path}{mark}{query}"
    request.headers = requests.structures.CaseInsensitiveDict(message.headers)
    if request.body:
        request.body = json.dumps(message.body).encode()
        request.headers["Content-Length"] = str(len(request.body))


def _answer(response: requests.Response, reply: Reply) -> requests.Response:
    response.status_code = reply.status
    content = json.dumps(reply.body) if reply.body else reply.text or ""
    response._content = content.encode()  # noqa: SLF001  (no public setter)
    response.headers["Content-Type"] = "application/json" if reply.body else "text/plain"
    response.headers.pop("Content-Encoding", None)
    return response


def _json(data: bytes | str) -> dict[str, Any]:
    try:
        found = json.loads(data) if data else {}
    except ValueError:
        return {}
    return dict(found) if isinstance(found, Mapping) else {}
