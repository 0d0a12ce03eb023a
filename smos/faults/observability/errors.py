"""F356 to F358: errors that are not sent, not stored, not whole, tell too much, or come from anybody."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from smos.faults.observability.relay import After, Answered, Asked, Before, relay
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault

CHECK = "OBS-09"
NEVER_S = 2.0
"""How long is waited for an event that can't come."""


def _with(
    work: ObservabilityWork, *, dsn: str | None = None, sdk: Mapping[str, Any] | None = None, **more: Any
) -> None:
    from smos.observability.verify.errors import Options  # not everybody has what it imports

    options = Options(dsn=dsn, **more)
    work.lab = work.lab.but(options=options if sdk is None else replace(options, sdk=sdk))


def _behind(
    work: ObservabilityWork,
    *,
    before: Before = lambda _: None,
    after: After = lambda _, __: None,
    **more: Any,
) -> None:
    """Let everybody reach the server through something else."""
    from smos.observability.verify.errors import Options
    from smos.observability.verify.sentrylive import SentryServer

    endpoint = work.stand.bugsink.endpoint
    place = work.undo.enter_context(relay(endpoint.url, before=before, after=after))
    dsn = endpoint.dsn.replace(urlsplit(endpoint.url).netloc, place)
    server = SentryServer(endpoint=replace(endpoint, url=f"http://{place}", dsn=dsn))
    work.lab = work.lab.but(options=Options(server=server, **more))


@fault("F356a", "The application's DSN holds another key", "DSN", caught(CHECK, "error-not-stored", "403"))
def other_key(work: ObservabilityWork) -> None:
    """Change the key."""
    dsn = work.stand.bugsink.endpoint.dsn
    _with(work, dsn=dsn.replace(urlsplit(dsn).username or "", "0" * 32), stored_s=NEVER_S)


@fault(
    "F356b",
    "The application's DSN names another project",
    "DSN",
    caught(CHECK, "error-not-stored", "status 40"),
)
def other_project(work: ObservabilityWork) -> None:
    """Change the project."""
    _with(work, dsn=work.stand.bugsink.endpoint.dsn.rpartition("/")[0] + "/4711", stored_s=NEVER_S)


@fault("F356c", "The application has no DSN", "DSN", caught(CHECK, "error-not-sent"))
def no_dsn(work: ObservabilityWork) -> None:
    """Give none."""
    _with(work, dsn="")


@fault("F356d", "The application sends one error of ten thousand", "SDK", caught(CHECK, "error-not-sent"))
def sampled(work: ObservabilityWork) -> None:
    """Sample."""
    _with(work, sdk={"sample_rate": 0.0})


@fault("F357a", "The SDK's own default sends local variables", "SDK", caught(CHECK, "error-tells", "cookie"))
def local_variables(work: ObservabilityWork) -> None:
    """Leave the default."""
    _with(work, sdk={})


@fault("F357b", "The SDK is told to send who it was", "SDK", caught(CHECK, "error-tells", "address"))
def personal(work: ObservabilityWork) -> None:
    """Switch it on."""
    _with(work, sdk={"include_local_variables": False, "send_default_pii": True})


@fault(
    "F358a",
    "The server takes events and stores none",
    "server",
    caught(CHECK, "error-not-stored", "status 200"),
)
def swallowed(work: ObservabilityWork) -> None:
    """Answer in its place."""

    def before(asked: Asked) -> Answered | None:
        return Answered(200, b"{}", "application/json") if asked.path.endswith("/envelope/") else None

    _behind(work, before=before, stored_s=NEVER_S)


@fault("F358b", "What stands before the server puts the right key in", "server", caught(CHECK, "sentry-open"))
def any_key(work: ObservabilityWork) -> None:
    """Replace every key."""
    right = urlsplit(work.stand.bugsink.endpoint.dsn).username or ""

    def before(asked: Asked) -> None:
        for name, value in asked.headers.items():
            if name.lower() == "x-sentry-auth":
                parts = [
                    f"sentry_key={right}" if part.strip().startswith("sentry_key=") else part
                    for part in value.removeprefix("Sentry ").split(",")
                ]
                asked.headers[name] = "Sentry " + ",".join(part.strip() for part in parts)
                first, _, rest = asked.body.partition(b"\n")
                header = {key: one for key, one in json.loads(first).items() if key != "dsn"}
                asked.body = json.dumps(header).encode() + b"\n" + rest

    _behind(work, before=before)


@fault(
    "F358c",
    "What stands before the server shows its token for everybody",
    "server",
    caught(CHECK, "sentry-api-open"),
)
def open_api(work: ObservabilityWork) -> None:
    """Put the token in."""
    token = work.stand.bugsink.endpoint.token

    def before(asked: Asked) -> None:
        if asked.path.startswith("/api/canonical/"):
            others = {k: v for k, v in asked.headers.items() if k.lower() != "authorization"}
            asked.headers = {**others, "Authorization": f"Bearer {token}"}

    _behind(work, before=before)


@fault("F358d", "Tags are lost on the way", "server", caught(CHECK, "error-incomplete", "tag"))
def lost_tags(work: ObservabilityWork) -> None:
    """Take them out of what is read back."""

    def after(asked: Asked, answered: Answered) -> None:
        if "/events/" in asked.path and b'"tags"' in answered.body:
            found = json.loads(answered.body)
            if isinstance(found.get("data"), dict):
                found["data"]["tags"] = {}
                answered.body = json.dumps(found).encode()

    _behind(work, after=after)
