"""The check of a user's own database: tenants are kept apart (the judge is smos/rls/judge.py)."""

from smos.target import Settings, Target
from smos.verdict import Check

CHECKS = (Check("RLS-01", "No role of the application reads, changes or learns of another tenant's rows"),)


def not_required(_target: Target, settings: Settings | None = None) -> tuple[tuple[str, str], ...]:
    """Return RLS-01 where no database was named."""
    if settings is not None and settings.dsn:
        return ()
    return (("RLS-01", "no database was named: --dsn"),)
