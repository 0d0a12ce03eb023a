"""OBS-09: an application fails, and its error is read back by its id from a server that speaks Sentry's protocol.

The application is a process of its own that starts the SDK as docs/observability.md says. That the server takes an
event says nothing: it is there when its API gives it out. Beside it, an envelope with a wrong key is sent by hand, so
that the refusal is seen.
"""

import json
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx

from smos.errors import DeadlineError
from smos.http import trust
from smos.observability.sentry import SentryError, SentryReader
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.probe import Probe, ProbeFacts
from smos.observability.verify.sentrylive import SentryServer, live_sentry
from smos.wait import wait_for

APPLICATION = Path(__file__).with_name("errorapp.py")
APPLICATION_S = STORED_S = REQUEST_S = 120.0
"""Limits against hangs."""
REFUSED = frozenset({400, 401, 403, 404})
SDK: Mapping[str, Any] = {"include_local_variables": False}
"""How docs/observability.md says that applications start the SDK. By its own defaults it sends local variables, and
of a dict among them (a request's environment, with its cookies) its scrubber hides nothing."""
PARTS = ("exception", "message", "frames", "tag", "environment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a fault changes. dsn: what the application is given; None: the server's. sdk: options of the SDK.

    server: another one than the stack's. stored_s: how long an event may take to be there.
    """

    dsn: str | None = None
    sdk: Mapping[str, Any] = field(default_factory=lambda: SDK)
    server: SentryServer | None = None
    stored_s: float = STORED_S
    narrowed: ClassVar[tuple[str, ...]] = ()


def observe(lab: ObservabilityLab) -> ProbeFacts:
    """Send, read back, compare. Raises ObservabilityError where a live server is not declared."""
    options: Options = lab.options or Options()
    server = options.server or (
        live_sentry(lab.target) if lab.live else SentryServer(endpoint=lab.own().bugsink.endpoint)
    )
    run = lab.run_id()
    dsn = server.endpoint.dsn if options.dsn is None else options.dsn
    canaries = {
        "password": f"canary-{secrets.token_hex(8)}",
        "cookie": f"canary-{secrets.token_hex(8)}",
        "authorization": f"canary-{secrets.token_hex(8)}",
        "address": f"203.0.113.{secrets.randbelow(200) + 20}",  # of nobody (RFC 5737)
    }
    stranger = secrets.token_hex(16)
    probes: list[Probe] = [_refused(server, stranger)]
    event_id = _failed(lab, dsn, run, canaries, options.sdk)
    probes.append(
        Probe(
            claim="sent",
            holds=event_id is not None,
            seen="the SDK gave the event an id" if event_id else "the SDK sent nothing",
        )
    )
    details: dict[str, Any] = {}
    with server.reader() as reader:
        probes.append(_token(server))
        if event_id is not None:
            probes += _stored(
                reader, server, event_id, stranger, options.stored_s, run, canaries, details, _taken(dsn)
            )
    return ProbeFacts(probes=tuple(probes), details=details)


def _failed(
    lab: ObservabilityLab, dsn: str, run: str, canaries: Mapping[str, str], sdk: Mapping[str, Any]
) -> str | None:
    """Let the application fail; return the id of its event. Raises ProvisionError."""
    given = {"dsn": dsn, "run": run, "canaries": dict(canaries), "options": dict(sdk)}
    done = lab.owner().run(
        [sys.executable, "-I", "-B", APPLICATION],
        timeout_s=APPLICATION_S,
        input=json.dumps(given),  # the DSN is a secret of a kind: not on the command line
        as_service_user=False,
    )
    event_id: str | None = json.loads(done.stdout)["event_id"]
    return event_id


def _stored(
    reader: SentryReader,
    server: SentryServer,
    event_id: str,
    stranger: str,
    within_s: float,
    run: str,
    canaries: Mapping[str, str],
    details: dict[str, Any],
    taken: int | None,
) -> Iterator[Probe]:
    began = time.monotonic()
    try:
        found: dict[str, Any] = wait_for(
            lambda: reader.event(event_id) or {}, what="the event is stored", deadline_s=within_s
        )
    except DeadlineError:
        answer = (
            f"an envelope with its key is answered with status {taken}" if taken else "nobody answers there"
        )
        yield Probe(claim="stored", holds=False, seen=f"not there after {within_s:g} s; {answer}")
        return
    except (SentryError, httpx.HTTPError) as error:
        yield Probe(claim="stored", seen=f"the API can't be asked: {error}"[:200])
        return
    details["seconds until it was there"] = round(time.monotonic() - began, 2)
    yield Probe(claim="stored", holds=True, seen="by its id")
    event = server.normal(found)
    seen = _parts(event, run)
    for part in PARTS:
        yield Probe(claim="whole", holds=seen[part], seen=part)
    text = json.dumps(found)
    for name, canary in canaries.items():
        yield Probe(claim="private", holds=canary not in text, seen=name)
    yield Probe(
        claim="stranger",
        holds=reader.event(stranger) is None,
        seen="what a wrong key sent, before, is not there",
    )


def _parts(event: Mapping[str, Any], run: str) -> dict[str, bool]:
    """Tell which parts of the error came back."""
    values = (event.get("exception") or {}).get("values") or [{}]
    last = values[-1]
    frames = (last.get("stacktrace") or {}).get("frames") or []
    return {
        "exception": last.get("type") == "OrderRefusedError",
        "message": str(last.get("value", "")).startswith("the order was refused"),
        "frames": "place_order" in {frame.get("function") for frame in frames},
        "tag": dict(event.get("tags") or {}).get("smos.run") == run,
        "environment": event.get("environment") == "verification",
    }


def _token(server: SentryServer) -> Probe:
    """Ask the API with a token of nobody."""
    other = replace(server, endpoint=replace(server.endpoint, token=secrets.token_hex(20)))
    with other.reader() as reader:
        try:
            reader.event("0" * 32)
        except SentryError as error:
            return Probe(claim="api-closed", holds=True, seen=error.message)
        except httpx.HTTPError as error:
            return Probe(claim="api-closed", seen=f"{type(error).__name__}")
    return Probe(claim="api-closed", holds=False, seen="it answers")


def _refused(server: SentryServer, event_id: str) -> Probe:
    """Send an event with a key that nobody issued."""
    parts = urlsplit(server.endpoint.dsn)
    status = _post(
        parts._replace(netloc=f"{secrets.token_hex(16)}@{parts.netloc.rpartition('@')[2]}").geturl(), event_id
    )
    if status is None:
        return Probe(claim="key", seen="nobody answers")
    return Probe(claim="key", holds=status in REFUSED, seen=f"status {status}")


def _taken(dsn: str) -> int | None:
    """Return how an envelope with this DSN is answered; it is one that holds nothing."""
    return _post(dsn, None)


def _post(dsn: str, event_id: str | None) -> int | None:
    """Post an envelope (None: an empty one), as SDKs do; return the status. None: no answer."""
    parts = urlsplit(dsn)
    if not parts.hostname:
        return None
    key, host = parts.username or "", parts.netloc.rpartition("@")[2]
    header: dict[str, str] = {"dsn": dsn}
    lines = [json.dumps(header | ({"event_id": event_id} if event_id else {}))]
    if event_id:
        body = json.dumps(
            {"event_id": event_id, "level": "error", "platform": "python", "message": "a stranger"}
        )
        lines += [json.dumps({"type": "event", "length": len(body)}), body]
    project = parts.path.rpartition("/")[2]
    prefix = parts.path.rpartition("/")[0]
    try:
        answer = httpx.post(
            f"{parts.scheme}://{host}{prefix}/api/{project}/envelope/",
            content="\n".join(lines) + "\n",
            headers={
                "X-Sentry-Auth": f"Sentry sentry_version=7, sentry_key={key}, sentry_client=smos-verify/1",
                "Content-Type": "application/x-sentry-envelope",
            },
            timeout=REQUEST_S,
            trust_env=False,
            verify=trust(),
        )
    except httpx.TransportError:
        return None
    return answer.status_code
