"""Ask a Vault how it is (`sys/health`), and tell apart every way in which it can be unwell.

Source of the status codes: the API's documentation of /sys/health (200 active, 429 standby, 472
disaster-recovery secondary, 473 performance standby, 501 not initialised, 503 sealed).
"""

import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from smos.http import Deadline

LIMIT_S = 5.0
LARGEST_ANSWER_BYTES = 64 * 1024


class HealthState(StrEnum):
    """What a Vault said, or why it said nothing."""

    ACTIVE = "active"
    STANDBY = "standby"
    DR_SECONDARY = "dr-secondary"
    PERFORMANCE_STANDBY = "performance-standby"
    UNINITIALIZED = "uninitialized"
    SEALED = "sealed"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed-out"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NAME = "certificate-name"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    NO_TLS = "no-tls"
    TLS_FAILED = "tls-failed"
    NOT_VAULT = "not-vault"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFacts:
    """One answer. status: HTTP status, None without an answer. detail: what was seen."""

    url: str
    state: HealthState
    status: int | None = None
    version: str | None = None
    cluster_id: str | None = None
    detail: str = ""


_STATES = {
    200: HealthState.ACTIVE,
    429: HealthState.STANDBY,
    472: HealthState.DR_SECONDARY,
    473: HealthState.PERFORMANCE_STANDBY,
    501: HealthState.UNINITIALIZED,
    503: HealthState.SEALED,
}

# OpenSSL's codes of X509_verify_cert; source: openssl-verification-options(1), x509_vfy.h.
_EXPIRED = frozenset({9, 10})
_WRONG_NAME = frozenset({62, 64})


def read_health(url: str, *, ca: Path | None = None, limit_s: float = LIMIT_S) -> HealthFacts:
    """Ask the Vault at `url` (http, https, or http+unix with a quoted path); never raises for its answer.

    ca: PEM file of the authority to trust instead of the system's. No proxy, no redirect, no environment.
    """
    shown = _without_credentials(url)
    split = urlsplit(url)
    try:
        if split.scheme == "http+unix":
            path = unquote(split.netloc)
            # httpx leaves a socket open that could not connect: try with one of our own first.
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
                knock.settimeout(limit_s)
                knock.connect(path)
            transport = httpx.HTTPTransport(uds=path)
            address = "http://vault"
        else:
            context = ssl.create_default_context(cafile=str(ca) if ca else None)
            transport = httpx.HTTPTransport(verify=context)
            address = url.rstrip("/")
    except (OSError, ssl.SSLError) as error:
        state = HealthState.UNREACHABLE if split.scheme == "http+unix" else HealthState.TLS_FAILED
        what = "socket" if state is HealthState.UNREACHABLE else "CA file"
        return HealthFacts(url=shown, state=state, detail=f"the {what} can't be used: {type(error).__name__}")
    body = b""
    # Each read within limit_s, all of it within twice that.
    with (
        Deadline(2 * limit_s) as whole,
        httpx.Client(transport=transport, timeout=limit_s, trust_env=False) as client,
    ):
        try:
            with client.stream("GET", f"{address}/v1/sys/health", extensions=whole.extensions) as answer:
                for block in answer.iter_bytes():
                    body += block
                    if len(body) > LARGEST_ANSWER_BYTES:
                        break
        except httpx.TimeoutException as error:
            return HealthFacts(
                url=shown, state=HealthState.TIMED_OUT, detail=f"{type(error).__name__} after {limit_s:g} s"
            )
        except (httpx.TransportError, httpx.DecodingError, httpx.InvalidURL, UnicodeError) as error:
            if whole.over:
                return HealthFacts(
                    url=shown, state=HealthState.TIMED_OUT, detail=f"no whole answer after {2 * limit_s:g} s"
                )
            state, detail = failure(error)
            return HealthFacts(url=shown, state=state, detail=detail)
    return _answer(shown, answer.status_code, body)


def _answer(url: str, status: int, body: bytes) -> HealthFacts:
    if status == 400 and b"HTTPS server" in body[:200]:
        return HealthFacts(
            url=url,
            state=HealthState.NO_TLS,
            status=status,
            detail="the server speaks TLS, the address does not",
        )
    state = _STATES.get(status, HealthState.NOT_VAULT)
    data: object = None
    if len(body) <= LARGEST_ANSWER_BYTES:
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            data = None
    # Any web server may answer 200 or 503: only the two words of a Vault's own answer make it one.
    if not isinstance(data, dict) or not {"initialized", "sealed"} <= set(data):
        return HealthFacts(
            url=url, state=HealthState.NOT_VAULT, status=status, detail="the answer is not that of a Vault"
        )
    if state is HealthState.ACTIVE and (data["sealed"] is not False or data["initialized"] is not True):
        state = HealthState.SEALED  # `?sealedcode=200` in front of it does not make it healthy
    return HealthFacts(
        url=url,
        state=state,
        status=status,
        version=str(data.get("version") or "") or None,
        cluster_id=str(data.get("cluster_id") or "") or None,
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def failure(error: BaseException) -> tuple[HealthState, str]:
    """Return what a request that came to nothing shows about the other side's TLS, and in whose words."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            if cause.verify_code in _EXPIRED:
                return HealthState.CERTIFICATE_EXPIRED, cause.verify_message
            if cause.verify_code in _WRONG_NAME:
                return HealthState.CERTIFICATE_NAME, cause.verify_message
            return HealthState.CERTIFICATE_UNTRUSTED, cause.verify_message
        if isinstance(cause, ssl.SSLError):
            reason = cause.reason or type(cause).__name__
            no_tls = reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}
            return (HealthState.NO_TLS if no_tls else HealthState.TLS_FAILED), reason
    return HealthState.UNREACHABLE, f"{type(error).__name__}: {str(error)[:120]}"


def _without_credentials(url: str) -> str:
    split = urlsplit(url)
    host = split.netloc.rpartition("@")[2]
    return f"{split.scheme}://{host}{split.path}"
