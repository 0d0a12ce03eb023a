"""What the judges say: findings with a stable code, the object, the role, the statement and the fix."""

from dataclasses import dataclass
from enum import StrEnum

from smos.rls.facts import ProbeFacts
from smos.rls.schema import Relation
from smos.verdict import Finding, Verdict


class Severity(StrEnum):
    """What a finding means.

    LEAK: rows of another tenant can be read. WRITE: they can be changed, or rows made in its name. ORACLE: their
    existence or number can be told. AVAILABILITY: the tenant's own rows are not reached as meant. RISK: nothing is
    open today (information). UNPROVEN: it could not be shown.
    """

    LEAK = "leak"
    WRITE = "write"
    ORACLE = "oracle"
    AVAILABILITY = "availability"
    RISK = "risk"
    UNPROVEN = "not-proven"

    @property
    def verdict(self) -> Verdict:
        """What it means for the check."""
        if self is Severity.RISK:
            return Verdict.PASS
        return Verdict.NOT_PROVEN if self is Severity.UNPROVEN else Verdict.FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationFinding:
    """One finding. target: the object, or the role for findings about roles. operation: what was done, or granted.

    statement: what was tried, with canary values only. why: one sentence. fix: SQL, or words where SQL can't do it.
    also: rules of other linters that say the same.
    """

    code: str
    severity: Severity
    target: str
    why: str
    fix: str
    role: str = ""
    operation: str = ""
    context: str = ""
    statement: str = ""
    also: tuple[str, ...] = ()

    def as_finding(self) -> Finding:
        """Return it in the words of every other check."""
        who = f" as {self.role}" if self.role else ""
        what = f" ({self.operation})" if self.operation else ""
        return Finding(self.code, f"{self.target}{who}{what}: {self.why}", self.fix, self.severity.verdict)


def is_exempt(facts: ProbeFacts, owner: str, table: Relation) -> bool:
    """Tell whether row security does not apply to this role on this table."""
    role = facts.schema.roles.get(owner)
    if role is not None and (role.superuser or role.bypass):
        return True
    return not table.row_security or (owner == table.owner and not table.forced)


def owned_tables(facts: ProbeFacts) -> list[Relation]:
    """Return the tables whose rows belong to tenants."""
    return [
        item
        for item in facts.schema.relations.values()
        if (found := facts.tables.get(item.oid)) and found.owned
    ]
