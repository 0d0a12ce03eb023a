"""The findings as SARIF 2.1.0, the format that code hosts read.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

import hashlib
from collections.abc import Sequence

from sarif_pydantic.sarif import (
    Level,
    Location,
    LogicalLocation,
    Message,
    ReportingDescriptor,
    Result,
    Run,
    Sarif,
    Tool,
    ToolDriver,
)

from smos import __version__
from smos.rls.finding import IsolationFinding, Severity

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {
    Severity.LEAK: Level.ERROR,
    Severity.WRITE: Level.ERROR,
    Severity.ORACLE: Level.WARNING,
    Severity.AVAILABILITY: Level.WARNING,
    Severity.UNPROVEN: Level.WARNING,
    Severity.RISK: Level.NOTE,
}


def to_sarif(findings: Sequence[IsolationFinding], database: str) -> str:
    """Return the findings as a SARIF log. A finding lies in a database object: a logical location, not a file."""
    codes = list(dict.fromkeys(item.code for item in findings))
    rules = [
        ReportingDescriptor(
            id=code,
            short_description=Message(text=next(item.why for item in findings if item.code == code)),
            properties={"severity": str(next(item.severity for item in findings if item.code == code))},
        )
        for code in codes
    ]
    results = [
        Result(
            rule_id=item.code,
            rule_index=codes.index(item.code),
            level=_LEVELS[item.severity],
            message=Message(text=f"{item.as_finding().message}\nFix:\n{item.fix}"),
            locations=[
                Location(
                    logical_locations=[
                        LogicalLocation(
                            name=item.target.rpartition(".")[2] or item.target,
                            fully_qualified_name=f"{database}.{item.target}",
                            kind="resource",
                        )
                    ]
                )
            ],
            partial_fingerprints={"finding/v1": _fingerprint(item)},
            properties={
                "role": item.role,
                "operation": item.operation,
                "context": item.context,
                "statement": item.statement,
                "fix": item.fix,
                "also": list(item.also),
            },
        )
        for item in findings
    ]
    driver = ToolDriver(name="smos rls", version=__version__, rules=rules)
    log = Sarif.model_validate(
        {"$schema": SCHEMA_URI, "runs": [Run(tool=Tool(driver=driver), results=results)]}
    )
    text: str = log.model_dump_json(by_alias=True, exclude_none=True, indent=1)
    return text


def _fingerprint(item: IsolationFinding) -> str:
    return hashlib.sha256(f"{item.code}|{item.target}|{item.role}".encode()).hexdigest()[:32]
