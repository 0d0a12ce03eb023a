"""Connects to a provider with the credentials that Vault keeps, and records what happened; judged apart.

A secret goes into the request and nowhere else: not into a fact, an error or a log. Redirects are not followed (they
would carry the credentials elsewhere), and credentials leave this machine over TLS only.
"""

import ipaddress
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import hvac

from smos.vault.model import CLIENT_ERRORS, VaultEndpoint, explain, opened
from smos.vault.providers import Provider

ANSWER_S = 10.0
WORKERS = 8
LONGEST_ANSWER = 2**20
"""Bytes of an answer that are read."""
_PLACE = re.compile(r"\{([a-z0-9_]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFacts:
    """What was seen of one provider.

    secret: "none" (it holds none), "read", "absent", "forbidden" or "unreadable". missing: keys that the secret lacks
    or that are empty. tested: whether it has a request that shows more. status: HTTP status, None without an answer.
    field: whether the answer held what only valid credentials get, None where nothing is asked. seconds: of the
    request. problem: why there was no answer, in a line.
    """

    name: str
    path: str | None
    secret: str
    missing: tuple[str, ...] = ()
    tested: bool = False
    host: str = ""
    status: int | None = None
    field: bool | None = None
    seconds: float | None = None
    problem: str = ""


def probe_all(
    endpoint: VaultEndpoint,
    token: str | None,
    providers: Sequence[Provider],
    *,
    mount: str = "smarteros",
    report: Callable[[ProviderFacts], None] = lambda _facts: None,
    http: httpx.BaseTransport | None = None,
) -> tuple[ProviderFacts, ...]:
    """Probe providers at the same time, in their order. report: told of each as it is done. http: of the tests only."""

    def one(provider: Provider) -> ProviderFacts:
        facts = probe(endpoint, token, provider, mount=mount, http=http)
        report(facts)
        return facts

    with ThreadPoolExecutor(WORKERS) as pool:
        return tuple(pool.map(one, providers))


def probe(
    endpoint: VaultEndpoint,
    token: str | None,
    provider: Provider,
    *,
    mount: str = "smarteros",
    http: httpx.BaseTransport | None = None,
) -> ProviderFacts:
    """Read one provider's credentials and use them once."""
    if provider.path is None:
        return ProviderFacts(name=provider.name, path=None, secret="none")  # noqa: S106  (a state)
    state, values, problem = _read(endpoint, token, mount, provider.path)
    missing = tuple(name for name in provider.keys if not str(values.get(name) or "").strip())
    facts = ProviderFacts(
        name=provider.name,
        path=provider.path,
        secret=state,
        missing=missing if state == "read" else (),
        tested=provider.test is not None,
        problem=problem,
    )
    if state != "read" or missing or provider.test is None:
        return facts
    return _ask(facts, provider, values, http)


def _read(
    endpoint: VaultEndpoint, token: str | None, mount: str, path: str
) -> tuple[str, Mapping[str, Any], str]:
    try:
        with opened(endpoint, token) as client:
            answer = client.secrets.kv.v2.read_secret_version(
                path, mount_point=mount, raise_on_deleted_version=True
            )
            return "read", answer["data"]["data"], ""
    except hvac.exceptions.InvalidPath:
        return "absent", {}, "no such secret"
    except hvac.exceptions.Forbidden as error:
        return "forbidden", {}, explain(error)
    except CLIENT_ERRORS as error:
        return "unreadable", {}, explain(error)


def _ask(
    facts: ProviderFacts, provider: Provider, values: Mapping[str, Any], http: httpx.BaseTransport | None
) -> ProviderFacts:
    test = provider.test
    assert test is not None  # noqa: S101  (the caller looked)
    fill = _Filler(values)
    try:
        url = fill(test.url)
        host = _allowed(url)
    except ValueError as error:
        return replace(facts, problem=str(error))
    started = time.monotonic()
    try:
        with httpx.Client(
            timeout=ANSWER_S, follow_redirects=False, trust_env=False, transport=http
        ) as client:
            method = "POST" if test.json_ is not None else test.method
            with client.stream(
                method,
                url,
                headers={name: fill(value) for name, value in test.headers.items()},
                auth=None if test.basic is None else (fill(test.basic[0]), fill(test.basic[1])),
                json=fill.deep(test.json_),
            ) as answer:
                held = _field(answer, test.field) if test.field and answer.status_code < 300 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        # The class alone: the text of a transport error may hold the address with a key in it.
        return replace(facts, host=host, problem=type(error).__name__, seconds=time.monotonic() - started)
    return replace(
        facts, host=host, status=answer.status_code, field=held, seconds=round(time.monotonic() - started, 3)
    )


class _Filler:
    """Puts values of the secret in the place of `{key}`; other braces stay."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {name: str(value) for name, value in values.items()}

    def __call__(self, text: str) -> str:
        return _PLACE.sub(self._value, text)

    def deep(self, value: Any) -> Any:
        """Fill every text of a JSON document."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {name: self.deep(item) for name, item in value.items()}
        return [self.deep(item) for item in value] if isinstance(value, list | tuple) else value

    def _value(self, place: re.Match[str]) -> str:
        if place[1] not in self._values:
            raise ValueError(f"the test asks for a key {place[1]!r} that the secret lacks")
        return self._values[place[1]]


def _allowed(url: str) -> str:
    """Return the host. Raises ValueError where credentials would travel in the clear."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        near = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    if not host or parts.username is not None:
        raise ValueError("its address is none")
    if parts.scheme != "https" and not (parts.scheme == "http" and near):
        raise ValueError("its address is not https: the credentials would travel in the clear")
    return f"{host}:{parts.port}" if parts.port else host


def _field(answer: httpx.Response, name: str) -> bool:
    """Tell whether the JSON answer holds this, and not as false, null or empty."""
    body = b""
    for block in answer.iter_bytes():
        body += block
        if len(body) > LONGEST_ANSWER:
            return False
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and bool(document.get(name))
