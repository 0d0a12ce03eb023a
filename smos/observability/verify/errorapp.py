"""A small web application that fails: one request, one exception. Run as a program.

Reads JSON from stdin: dsn, run, canaries (what must not leave the process), options (of the SDK). Writes to stdout
the id that the SDK gave the event, as JSON; null where it sent none.
"""

import json
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO
from typing import Any, ClassVar

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
from sentry_sdk.transport import HttpTransport

FLUSH_S = 60.0


class Noted(HttpTransport):
    """The SDK's own transport; it notes the ids of the events that it is given to send."""

    ids: ClassVar[list[str]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Note the id, and send."""
        event = envelope.get_event()
        if event is not None:
            self.ids.append(str(event["event_id"]))
        super().capture_envelope(envelope)


class OrderRefusedError(Exception):
    """What the application raises."""


def place_order(password: str) -> None:
    """Fail, with a secret among the local variables."""
    raise OrderRefusedError(f"the order was refused ({len(password)} characters)")


def main() -> None:
    """Serve one request."""
    given: dict[str, Any] = json.load(sys.stdin)
    canaries: dict[str, str] = given["canaries"]
    sentry_sdk.init(
        dsn=given["dsn"] or None,
        release="smos-verify@1",
        environment="verification",
        transport=Noted,
        # It uses none of the libraries that the SDK would look for; the harness, in whose environment it runs, does.
        auto_enabling_integrations=False,
        **given["options"],
    )
    sentry_sdk.set_tag("smos.run", given["run"])

    def application(_environ: dict[str, str], _start: Callable[..., object]) -> Iterable[bytes]:
        place_order(canaries["password"])
        return []

    request = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/order",
        "QUERY_STRING": "",
        "SERVER_NAME": "shop.invalid",
        "SERVER_PORT": "443",
        "wsgi.url_scheme": "https",
        "wsgi.input": BytesIO(b""),
        "REMOTE_ADDR": canaries["address"],
        "HTTP_X_FORWARDED_FOR": canaries["address"],
        "HTTP_COOKIE": f"session={canaries['cookie']}",
        "HTTP_AUTHORIZATION": f"Bearer {canaries['authorization']}",
    }
    served: Any = SentryWsgiMiddleware(application)
    with suppress(OrderRefusedError):
        list(served(request, lambda *_: None))
    sentry_sdk.flush(FLUSH_S)
    json.dump({"event_id": Noted.ids[0] if Noted.ids else None}, sys.stdout)


if __name__ == "__main__":
    main()
