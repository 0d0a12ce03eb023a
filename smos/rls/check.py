"""RLS-01 on one database: probe it, judge it; what can't be probed is not proven."""

from smos.errors import AuthenticationError, ProvisionError, UnreachableError
from smos.rls.clone import Copies
from smos.rls.facts import ProbeOptions
from smos.rls.judge import judge_isolation
from smos.rls.probe import probe
from smos.verdict import Judgement, not_proven


def prove_isolation(
    dsn: str, options: ProbeOptions | None = None, *, copies: Copies | None = None
) -> Judgement:
    """Return the judgement on the database behind this connection string. Raises TargetError for a malformed one.

    copies: servers for the copy of its schema, where many are probed in turn.
    """
    try:
        return judge_isolation(probe(dsn, options, copies=copies))
    except (UnreachableError, AuthenticationError, ProvisionError) as error:
        return Judgement((not_proven("database-not-probed", error.message, error.remedy),))
