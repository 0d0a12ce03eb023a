"""Lets the row-security prober, which knows nothing of this schema, look for a way across in both variants."""

from smos.demo.stack import DemoDatabase
from smos.rls.facts import Mode, ProbeFacts, ProbeOptions
from smos.rls.probe import probe

VARIANTS = {
    "settings": ("demo_app", "demo_readonly"),
    "JWT": ("authenticated",),
}
"""Variant to the roles that speak for tenants in it."""
TRUSTED = ("demo_maintenance", "demo_seeder")
"""They cross tenants by their nature, each within limits that DEMO-04 and DEMO-12 hold."""


def probe_variants(database: DemoDatabase) -> dict[str, ProbeFacts]:
    """Probe the database in place, in a transaction that is rolled back: it is a clone that nobody else uses.

    The prober makes rows up and can't know how a RUT's check digit is computed: in the clone, the domain does not ask.
    """
    with database.connect() as admin:
        admin.execute("ALTER DOMAIN demo.rut DROP CONSTRAINT IF EXISTS rut_check")
    return {
        name: probe(
            database.endpoint.conninfo(database.name),
            ProbeOptions(mode=Mode.IN_PLACE, roles=roles, trusted=TRUSTED),
        )
        for name, roles in VARIANTS.items()
    }
