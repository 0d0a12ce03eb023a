"""The demo's checks, and their judges: pure functions from what the drivers (smos/demo/verify) recorded to findings."""

from smos.target import Settings, Target
from smos.verdict import Check

N8N_SERVICE = "demo-n8n"
"""The name of the service that a target declares when its demo has an n8n."""

CHECKS = (
    Check(
        "DEMO-01",
        "The demo's seed is exactly what is specified: 15 products in five categories, 3 orders, 6 conversations,"
        " 6 events, one user; CLP, valid RUTs, America/Santiago",
    ),
    Check("DEMO-02", "Seeding again changes nothing, brings back what was broken, and leaves visitors' data alone"),
    Check("DEMO-03", "The clean-up removes what is older than its limit, and nothing else, at any moment"),
    Check("DEMO-04", "The clean-up works in bounded batches, children first, can be stopped, and can do no more"),
    Check("DEMO-05", "The demo's containers share no network, port, volume or default password with anything"),
    Check("DEMO-06", "The demo's credentials open nothing but the demo: no other database, server, file or program"),
    Check("DEMO-07", "No role reads or writes across tenants, by any statement"),
    Check("DEMO-08", "No user reads or writes what belongs to another user of the same tenant"),
    Check("DEMO-09", "Errors, uniqueness, foreign keys and statistics tell nothing of other tenants"),
    Check("DEMO-10", "A pooled connection carries nothing of one transaction into the next"),
    Check("DEMO-11", "The Supabase-style variant isolates by a token's claims; the anonymous see a shop window only"),
    Check("DEMO-12", "The schema holds what isolation rests on: forced row security, plain roles, safe policies"),
    Check("DEMO-13", "The row-security prober finds no way across tenants in either variant"),
    Check("DEMO-14", "The demo's n8n says that it is healthy and ready"),
)  # fmt: skip


def not_required(target: Target, _settings: Settings | None = None) -> tuple[tuple[str, str], ...]:
    """Return (check ID, why) for every check of this suite that the target does not ask for."""
    if any(service.name == N8N_SERVICE for service in target.services):
        return ()
    return (("DEMO-14", f"the target declares no service {N8N_SERVICE}"),)
