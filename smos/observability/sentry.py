"""Reads back from a Bugsink what a Sentry SDK sent: an event by the id that the SDK gave it."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from smos.errors import SmosError
from smos.http import trust
from smos.provision.telemetry import SentryEndpoint

API = "/api/canonical/0"
REQUEST_S = 60.0


class SentryError(SmosError):
    """The server refused a request of its REST API."""


class SentryReader:
    """A client of the REST API; a context manager. Raises SentryError, httpx.TransportError."""

    def __init__(self, endpoint: SentryEndpoint) -> None:
        self.endpoint = endpoint
        self._http = httpx.Client(
            base_url=endpoint.url,
            headers={"Authorization": f"Bearer {endpoint.token}"},
            timeout=REQUEST_S,
            trust_env=False,
            verify=trust(),
        )

    def event(self, event_id: str) -> dict[str, Any] | None:
        """Return the event with this id (32 hexadecimal digits), with its data; None while it is not stored."""
        wanted = event_id.replace("-", "").lower()
        for issue in self._all("/issues/", project=str(self.endpoint.project_id)):
            for event in self._all("/events/", issue=str(issue["id"])):
                if str(event["event_id"]).replace("-", "").lower() == wanted:
                    return self._get(f"{API}/events/{event['id']}/", {})
        return None

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _all(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        """Give every item of a list that comes in pages."""
        page: dict[str, Any] = self._get(f"{API}{path}", query)
        yield from page["results"]
        while page.get("next"):
            page = self._get(str(page["next"]), {})
            yield from page["results"]

    def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        answer = self._http.get(path, params=query or None)
        if answer.status_code != httpx.codes.OK:
            raise SentryError(
                f"{path} answered {answer.status_code}", remedy="check the token and the project", log=""
            )
        content: dict[str, Any] = answer.json()
        return content
