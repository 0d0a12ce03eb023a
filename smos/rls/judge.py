"""The judgement on isolation: pure, from what was discovered and done to findings."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from smos.rls.facts import Gap, ProbeFacts, TableFacts
from smos.rls.finding import IsolationFinding, Severity
from smos.rls.judge_acts import judge_acts
from smos.rls.judge_insiders import judge_insiders
from smos.rls.judge_static import judge_static
from smos.rls.schema import Policy, Relation
from smos.verdict import Judgement

_ORDER = list(Severity)
_SHARED_GAPS = frozenset({"not-planted"})


def isolation_findings(facts: ProbeFacts) -> tuple[IsolationFinding, ...]:
    """Return what is wrong or not proven, the worst first; one finding for each code, object and role."""
    merged: dict[tuple[str, str, str], IsolationFinding] = {}
    for item in (
        *judge_acts(facts),
        *judge_insiders(facts),
        *judge_static(facts),
        *_gaps(facts),
        *_empty_partitions(facts),
    ):
        key = (item.code, item.target, item.role)
        known = merged.get(key)
        if known is None:
            merged[key] = item
            continue
        operations = ", ".join(
            dict.fromkeys(filter(None, (*known.operation.split(", "), *item.operation.split(", "))))
        )
        worst = min(known.severity, item.severity, key=_ORDER.index)
        merged[key] = replace(known, operation=operations, severity=worst)
    return tuple(
        sorted(
            merged.values(), key=lambda item: (_ORDER.index(item.severity), item.target, item.code, item.role)
        )
    )


def judge_isolation(facts: ProbeFacts, findings: Sequence[IsolationFinding] | None = None) -> Judgement:
    """Judge whether tenants are isolated. findings: where they were made (and joined with others') already."""
    found = isolation_findings(facts) if findings is None else findings
    return Judgement(tuple(item.as_finding() for item in found), summary(facts, found))


def summary(facts: ProbeFacts, findings: Iterable[IsolationFinding]) -> dict[str, Any]:
    """Return what an auditor should see beside the findings (JSON)."""
    owned = [oid for oid, item in facts.tables.items() if item.owned]
    return {
        "database": facts.schema.database,
        "server_version_num": facts.schema.version_num,
        "mode": str(facts.mode),
        "isolation_of_the_clone": facts.isolation,
        "context": list(facts.contexts),
        "roles": list(facts.probed),
        "tables": len(facts.tables),
        "tables_of_tenants": len(owned),
        "tables_planted": sum(facts.tables[oid].planted for oid in owned),
        "tables_taken_as_shared": _taken_as_shared(facts),
        "policies": sum(len(item.policies) for item in facts.schema.relations.values()),
        "statements_tried": facts.statements,
        "seconds": {phase: round(value, 3) for phase, value in facts.seconds.items()},
        "findings": [asdict(item) | {"severity": str(item.severity)} for item in findings],
    }


def _taken_as_shared(facts: ProbeFacts) -> list[str]:
    """Name the tables that roles reach and that nothing tells to be tenants': whoever knows better declares it."""
    return [
        item.title
        for item in facts.schema.tables()
        if not facts.tables.get(item.oid, TableFacts()).owned
        and any(item.rights.get(role) or item.column_rights.get(role) for role in facts.probed)
    ]


def _gaps(facts: ProbeFacts) -> Iterable[IsolationFinding]:
    by_title = {item.title: item for item in facts.schema.relations.values()}
    for gap in facts.gaps:
        relation = by_title.get(gap.target)
        if gap.code in _SHARED_GAPS and relation is not None:
            about = facts.tables.get(relation.oid, TableFacts())
            reached = any(
                relation.rights.get(role) or relation.column_rights.get(role) for role in facts.probed
            )
            if not about.owned or not reached or not relation.row_security:
                continue  # nothing to show there, or it is a finding already
        yield _unproven(gap)


def _empty_partitions(facts: ProbeFacts) -> Iterable[IsolationFinding]:
    """Say which partitions can be asked directly, got no canary, and have policies that were tried nowhere else."""
    relations = facts.schema.relations
    tried = {_rules(item) for oid, item in relations.items() if facts.tables.get(oid, TableFacts()).planted}
    for oid, item in relations.items():
        about = facts.tables.get(oid, TableFacts())
        reached = any(item.rights.get(role) or item.column_rights.get(role) for role in facts.probed)
        if (
            item.partition
            and about.owned
            and not about.planted
            and reached
            and item.row_security
            and facts.statements
        ):
            if _rules(item) in tried or not any(policy.permissive for policy in item.policies):
                continue
            yield _unproven(
                Gap(
                    code="not-planted", target=item.title,
                    reason="no canary row of another tenant falls into this partition, whose policies are its own",
                    remedy="give it the policies of its parent, or revoke what is granted on it",
                )
            )  # fmt: skip


def _rules(relation: Relation) -> frozenset[Policy]:
    return frozenset(replace(policy, name="") for policy in relation.policies)


def _unproven(gap: Gap) -> IsolationFinding:
    return IsolationFinding(
        code=gap.code, severity=Severity.UNPROVEN, target=gap.target, why=gap.reason, fix=gap.remedy
    )
