"""OBS-07 on somebody's own stack: Grafana's API tells whether its data sources work and the dashboards are there.

Nothing is written. That panels show what is known to be there needs known telemetry, which is put into no stack of
somebody's: that part stays unproven here.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx

from smos.http import trust
from smos.observability import dashboards
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.probe import ObservabilityError, Probe, ProbeFacts
from smos.target import ObservabilityTarget
from smos.vault.model import VaultError
from smos.vault.verify.live import read_private

REQUEST_S = 60.0


def observe_live(lab: ObservabilityLab) -> ProbeFacts:
    """Ask Grafana. Raises ObservabilityError where the target does not name one, httpx.HTTPError."""
    with _client(lab.target) as client:
        probes = [*_health(client), *_boards(client)]
    return ProbeFacts(probes=tuple(probes), details={"live": True})


def _health(client: httpx.Client) -> Iterator[Probe]:
    """Ask every data source that the shipped dashboards name whether it works."""
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in dashboards.folder().glob("*.json")]
    for uid in sorted(
        {
            panel["datasource"]["uid"]
            for board in boards
            for panel in board["panels"]
            if panel.get("datasource")
        }
    ):
        answer = client.get(f"/api/datasources/uid/{uid}/health")
        if answer.status_code in {401, 403}:
            yield Probe(claim="source", seen=f"{uid}: the token may not ask (status {answer.status_code})")
            continue
        found = _json(answer)
        yield Probe(
            claim="source",
            holds=answer.status_code == httpx.codes.OK and found.get("status") == "OK",
            seen=f"{uid}: status {answer.status_code}",
        )


def _boards(client: httpx.Client) -> Iterator[Probe]:
    """Compare each dashboard's queries with the shipped ones."""
    for board in dashboards.load_all():
        answer = client.get(f"/api/dashboards/uid/{board.uid}")
        if answer.status_code in {401, 403}:
            yield Probe(claim="present", seen=f"{board.uid}: the token may not read it")
            continue
        there = _json(answer).get("dashboard", {})
        queries = {
            target.get("rawSql") for panel in there.get("panels", []) for target in panel.get("targets", [])
        }
        lost = [panel.title for panel in board.panels if panel.sql not in queries]
        yield Probe(
            claim="present",
            holds=answer.status_code == httpx.codes.OK and not lost,
            seen=f"{board.uid}: " + (f"without {', '.join(lost)}" if lost else "as shipped"),
        )


def _client(target: ObservabilityTarget) -> httpx.Client:
    if target.grafana is None or target.grafana_token_file is None:
        raise ObservabilityError(
            "The target does not name the Grafana to ask",
            code="observability-no-address",
            remedy="set grafana and grafana_token_file below `observability:` (docs/observability.md)",
        )
    if not target.grafana.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ObservabilityError(
            "observability.grafana must start with https://: a token is sent there",
            code="observability-no-tls",
            remedy="give the address with TLS; plain HTTP is taken on loopback only",
        )
    try:
        token = read_private(target.grafana_token_file, "observability.grafana_token_file").decode().strip()
    except VaultError as error:  # the reader is the Vault suite's; its words fit, its codes do not
        raise ObservabilityError(
            error.message, code="observability-no-credentials", remedy=error.remedy
        ) from None
    return httpx.Client(
        base_url=target.grafana.rstrip("/"),
        headers={"Authorization": f"Bearer {token}"},
        timeout=REQUEST_S,
        trust_env=False,
        verify=trust(),
    )


def _json(answer: httpx.Response) -> dict[str, Any]:
    """Return what it holds; nothing where it is no JSON."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
