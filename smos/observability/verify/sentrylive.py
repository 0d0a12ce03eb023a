"""Where errors are read back: the embedded Bugsink, or a Bugsink or Sentry of yours, each by its REST API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from smos.observability.sentry import REQUEST_S, SentryError, SentryReader
from smos.observability.verify.probe import ObservabilityError
from smos.provision.telemetry import SentryEndpoint
from smos.target import ObservabilityTarget
from smos.vault.model import VaultError
from smos.vault.verify.live import read_private


class _Credentials(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    dsn: SecretStr
    token: SecretStr
    project: str
    """Bugsink: the project's number. Sentry: `organisation/project`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentryServer:
    """One server. kind: whose REST API it has. project: as the API names it; empty for a Bugsink."""

    endpoint: SentryEndpoint
    kind: Literal["bugsink", "sentry"] = "bugsink"
    project: str = ""

    def reader(self) -> SentryReader:
        """Return a client of its API (a context manager)."""
        return SentryReader(self.endpoint) if self.kind == "bugsink" else _Sentry(self.endpoint, self.project)

    def normal(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an event as the SDK sent it: exception, tags, environment."""
        if self.kind == "bugsink":
            data: Mapping[str, Any] = event["data"]
            return data
        entries = {entry["type"]: entry["data"] for entry in event.get("entries", [])}
        tags = {tag["key"]: tag["value"] for tag in event.get("tags", [])}
        return {"exception": entries.get("exception"), "tags": tags, "environment": tags.get("environment")}


class _Sentry(SentryReader):
    """Sentry's own API: docs.sentry.io/api/events/retrieve-an-event-for-a-project."""

    def __init__(self, endpoint: SentryEndpoint, project: str) -> None:
        super().__init__(endpoint)
        self._project = project

    def event(self, event_id: str) -> dict[str, Any] | None:
        """Return the event with this id; None while it is not stored."""
        answer = self._http.get(f"/api/0/projects/{self._project}/events/{event_id}/", timeout=REQUEST_S)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            raise SentryError(
                f"the API answered {answer.status_code}", remedy="check the token and the project"
            )
        found: dict[str, Any] = answer.json()
        return found


def live_sentry(target: ObservabilityTarget) -> SentryServer:
    """Return the server that the target names. Raises ObservabilityError, whose code says what is missing."""
    if target.sentry is None or target.sentry_credentials is None:
        raise ObservabilityError(
            "The target does not name the Sentry to ask",
            code="observability-no-address",
            remedy="set sentry and sentry_credentials below `observability:` (docs/observability.md)",
        )
    if not target.sentry.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ObservabilityError(
            "observability.sentry must start with https://: a token is sent there",
            code="observability-no-tls",
            remedy="give the address with TLS; plain HTTP is taken on loopback only",
        )
    try:
        given = _Credentials.model_validate_json(
            read_private(target.sentry_credentials, "observability.sentry_credentials")
        )
    except ValidationError:
        raise ObservabilityError(
            f"{target.sentry_credentials} holds no credentials that can be understood",
            code="observability-no-credentials",
            remedy='write {"dsn": "…", "token": "…", "project": "…"}',
        ) from None
    except VaultError as error:  # the reader is the Vault suite's; its words fit, its codes do not
        raise ObservabilityError(
            error.message, code="observability-no-credentials", remedy=error.remedy
        ) from None
    number = given.project if given.project.isdecimal() else "0"
    return SentryServer(
        endpoint=SentryEndpoint(
            url=target.sentry.rstrip("/"),
            dsn=given.dsn.get_secret_value(),
            project_id=int(number),
            token=given.token.get_secret_value(),
        ),
        kind="bugsink" if given.project.isdecimal() else "sentry",
        project=given.project,
    )
