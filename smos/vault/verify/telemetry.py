"""VAULT-11: the metrics of the Vault that is verified, asked as a scraper asks. Works on a live Vault as well."""

from typing import Any

import hvac

from smos.vault.model import opened
from smos.vault.verify.bare import looked, send
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.metrics import PATH, read_metrics, samples
from smos.vault.verify.probe import Probe, ProbeFacts, ask

REQUESTS = 10
HANDLED = "vault_core_handle_request_count"
AUDITED = "vault_audit_log_request_count"
UNSEALED = "vault_core_unsealed"
FEWEST_FAMILIES = 20
"""A server that was just started shows some hundred."""
NEEDED = (HANDLED, UNSEALED)


def observe(lab: VaultLab) -> ProbeFacts:
    """Ask without a token, with a wrong one, with one that may; make requests in between; compare the counters."""
    probes = [_refused(lab, "no-token", None), _refused(lab, "wrong-token", "s.not-a-token-of-anybody")]
    details: dict[str, Any] = {}
    with lab.operator() as client:
        status, text, reason = ask(lambda: read_metrics(client))
        probes.append(Probe(claim="readable", status=status, seen=reason))
        if status == 200:
            probes += _counted(client, text, details)
    return ProbeFacts(probes=tuple(probes), details=details)


def _refused(lab: VaultLab, claim: str, token: str | None) -> Probe:
    with opened(lab.endpoint, token) as client:
        status, _, reason = ask(send(client, "GET", PATH.removeprefix("/v1/")))
        return Probe(claim=claim, status=status, seen=reason)


def _counted(client: hvac.Client, first: str, details: dict[str, Any]) -> list[Probe]:
    try:
        before = samples(first)
    except ValueError as error:
        return [looked("parses", False, f"the format's parser says: {str(error)[:120]}")]
    probes = [looked("parses", len(before) >= FEWEST_FAMILIES, f"{len(before)} series")]
    missing = [name for name in NEEDED if name not in before]
    probes.append(looked("needed", not missing, "missing: " + ", ".join(missing) if missing else ""))
    for _ in range(REQUESTS):
        client.auth.token.lookup_self()
    try:
        after = samples(read_metrics(client))
    except ValueError as error:
        return [*probes, looked("counters-rise", False, f"the second answer: {str(error)[:120]}")]
    rise = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in (HANDLED, AUDITED)}
    details |= {"series": len(after), "requests made": REQUESTS, "rise": rise}
    seen = f"{HANDLED} rose by {rise[HANDLED]:g} with {REQUESTS} requests"
    probes.append(looked("counters-rise", rise[HANDLED] >= REQUESTS, seen))
    fallen = sorted(
        name for name in before if name.endswith("_count") and after.get(name, 0.0) < before[name]
    )
    probes.append(looked("counters-keep", not fallen, "fell: " + ", ".join(fallen[:5]) if fallen else ""))
    return probes
