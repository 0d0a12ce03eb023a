"""Public addresses: reachable, with a certificate that is valid, and the answer that only a healthy service gives."""

import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx

from smos.backup.names import printable
from smos.clock import Clock
from smos.http import Deadline
from smos.live.declared import Service
from smos.live.facts import CertificateFacts
from smos.vault.health import HealthState, failure

LIMIT_S = 15.0
"""Seconds for the whole answer: a server that drips one byte a second has not answered."""
LARGEST = 1 << 20
ROUTES = {"grafana": "/api/health", "sentry": "/_health/", "otlp": "/v1/traces"}
"""Where each kind tells how it is. An empty OTLP request is answered and stores nothing (OTLP specification)."""
_CODES = {
    HealthState.CERTIFICATE_EXPIRED: "certificate-expired",
    HealthState.CERTIFICATE_NAME: "certificate-name",
    HealthState.CERTIFICATE_UNTRUSTED: "certificate-untrusted",
    HealthState.NO_TLS: "certificate-none",
}
"""Failures of TLS that are the server's own; the rest is a connection that was not made."""
_WORDS = {
    "certificate-expired": "its certificate is not valid today",
    "certificate-name": "its certificate is of another name",
    "certificate-untrusted": "its certificate is of an authority that is not trusted here",
    "certificate-none": "it speaks no TLS",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressState:
    """One address. healthy: None where nothing could be heard. code: of the finding where it is not healthy."""

    healthy: bool | None
    detail: str
    code: str = ""
    certificate: CertificateFacts | None = None


def ask_address(service: Service, clock: Clock) -> AddressState:  # noqa: PLR0911  (one return for each way to fail)
    """Ask a service at its public address; never raises for what is there. No proxy, no redirect, no environment."""
    if service.url is None:
        return AddressState(healthy=None, detail="the target gives no `url` for it")
    try:
        context = ssl.create_default_context(cafile=str(service.ca_file) if service.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        return AddressState(healthy=None, detail=f"{service.ca_file} can't be used: {type(error).__name__}")
    url = service.url.rstrip("/") + ROUTES.get(service.kind, "") if service.kind in ROUTES else service.url
    method, content = ("POST", b"{}") if service.kind == "otlp" else ("GET", None)
    headers = {"accept-encoding": "identity"} | ({"content-type": "application/json"} if content else {})
    limit = Deadline(LIMIT_S)
    try:
        with (
            limit,
            httpx.Client(verify=context, timeout=LIMIT_S / 2, trust_env=False, headers=headers) as client,
            client.stream(method, url, content=content, extensions=limit.extensions) as answer,
        ):
            certificate = _certificate(service, answer, clock)
            body = b""
            for block in answer.iter_raw():
                body += block
                if len(body) > LARGEST or limit.over:
                    break
            else:
                if not limit.over:  # an answer without a length ends with its connection, whoever ends that
                    healthy, detail = _judge(service, answer, body)
                    return AddressState(healthy=healthy, detail=detail, certificate=certificate)
            return AddressState(healthy=None, detail="its answer does not end", certificate=certificate)
    except httpx.TimeoutException:
        return AddressState(
            healthy=None, detail=f"no answer within {LIMIT_S / 2:g} s", code="address-unreachable"
        )
    except (httpx.TransportError, httpx.InvalidURL, UnicodeError) as error:
        if limit.over:
            return AddressState(
                healthy=None,
                detail=f"its answer does not end within {LIMIT_S:g} s",
                code="address-unreachable",
            )
        state, detail = failure(error)
        if state in _CODES:
            code = _CODES[state]
            return AddressState(healthy=False, detail=f"{_WORDS[code]} ({printable(detail)})", code=code)
        return AddressState(healthy=None, detail=printable(detail), code="address-unreachable")


def _judge(service: Service, answer: httpx.Response, body: bytes) -> tuple[bool, str]:
    """Say whether this is what only a healthy service of its kind answers."""
    if answer.status_code != service.expect_status:
        return False, f"status {answer.status_code}, expected {service.expect_status}"
    if service.contains is not None and service.contains.encode() not in body:
        return False, "its answer does not hold what the target says"
    good, yes, no = _of_kind(service.kind, answer, body)
    return good, yes if good else no


def _of_kind(kind: str, answer: httpx.Response, body: bytes) -> tuple[bool, str, str]:
    """Return whether it is healthy, and the words for yes and no."""
    if kind == "grafana":
        try:
            database = json.loads(body).get("database")
        except (ValueError, AttributeError, RecursionError):
            database = None
        return database == "ok", "its database is ok", "it does not say that its database is ok"
    if kind == "otlp":
        taken = (
            answer.headers.get("content-type", "").startswith("application/json") and b"ejected" not in body
        )
        return taken, "it takes traces", "what answers is no OTLP receiver"
    if kind == "sentry":
        return body.strip().lower()[:40] == b"ok", "it says ok", "it does not say ok"
    return True, f"status {answer.status_code}", ""


def _certificate(service: Service, answer: httpx.Response, clock: Clock) -> CertificateFacts | None:
    stream = answer.extensions["network_stream"]
    connection = stream.get_extra_info("ssl_object")
    shown = connection.getpeercert() if connection is not None else None
    if not shown:
        return None
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    issuer = ", ".join(value for part in shown.get("issuer", ()) for _, value in part)
    return CertificateFacts(
        name=service.name,
        url=_host(service.url or ""),
        days_left=round((until - clock.now()).total_seconds() / 86_400, 2),
        due_days=service.certificate_days,
        issuer=printable(issuer),
    )


def _host(url: str) -> str:
    split = urlsplit(url)
    return f"{split.scheme}://{split.netloc}"
