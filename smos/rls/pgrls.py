"""A second opinion: `pgrls`, a linter for row security, run as a program of its own where it is installed.

It reads policies and never acts; what it says of an object is put beside our finding of the same kind. What it alone
says is information: its rules are stricter about style than about leaks.
"""

import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import make_conninfo

from smos.errors import ProvisionError
from smos.provision.owner import Owner
from smos.rls.finding import IsolationFinding, Severity

if TYPE_CHECKING:
    import psycopg

LINT_S = 300
RULES = {
    "rls-off": ("SEC001", "SEC032"), "rls-not-forced": ("SEC002", "SEC048"), "rls-no-policy": ("SEC009", "SEC012"),
    "cross-tenant-read": ("SEC003", "SEC005", "SEC008", "SEC011", "SEC038", "SEC036"),
    "leak-without-context": ("SEC004", "SEC038", "SEC011", "SEC008"),
    "cross-tenant-write": ("SEC006", "SEC020", "SEC028", "SEC039", "SEC040"),
    "write-without-context": ("SEC006", "SEC028", "SEC039"), "null-tenant-visible": ("SEC030",),
    "role-bypasses-rls": ("SEC016",), "role-can-bypass": ("SEC029",), "leakproof-function": ("SEC017",),
    "definer-function-leaks": ("SEC014", "SEC042"), "function-shadowable": ("SEC015",), "view-leaks": ("VIEW001",),
    "view-no-barrier": ("VIEW002",), "matview-leaks": ("VIEW003", "SEC054"), "unique-oracle": ("SEC035",),
    "fk-oracle": ("SEC047",), "partition-unprotected": ("SEC041", "SEC043"), "default-privileges": ("SEC044",),
    "context-immutable": ("SEC046",), "claim-user-editable": ("SEC033",), "foreign-table-exposed": ("SEC053",),
    "role-member-of-owner": ("SEC048",), "not-initplan": ("PERF001",), "no-index": ("PERF003",),
}  # fmt: skip
"""Our finding code to the rules of pgrls that mean the same."""


def is_installed() -> bool:
    """Whether it is here (the extra `rls`)."""
    return importlib.util.find_spec("pgrls") is not None


def lint(connection: "psycopg.Connection[Any]", schemas: Sequence[str]) -> list[dict[str, str]]:
    """Run it on the same database and return its violations. Raises ProvisionError when it can't."""
    info = connection.info
    parameters = info.get_parameters() | {"host": info.host, "port": str(info.port), "dbname": info.dbname}
    parameters |= {"user": info.user, "options": "-c default_transaction_read_only=on"}
    if info.password:
        parameters["password"] = info.password
    with Owner("pgrls") as owner:
        done = owner.run(
            [sys.executable, "-m", "pgrls", "lint", "--format", "json", "--schemas", ",".join(schemas)],
            env={"DATABASE_URL": make_conninfo(**parameters)},
            as_service_user=False,
            check=False,
            timeout_s=LINT_S,
        )
    try:
        found: list[dict[str, str]] = json.loads(done.stdout)["violations"]
    except (ValueError, KeyError, TypeError):
        raise ProvisionError(
            f"pgrls gave no result (exit code {done.returncode})",
            remedy="our own findings stand without it; try another version of pgrls",
        ) from None
    return found


def join(
    findings: Sequence[IsolationFinding], violations: Sequence[dict[str, str]]
) -> tuple[IsolationFinding, ...]:
    """Put what pgrls says beside our findings, by object and rule; what it alone says is added as information."""
    used: set[int] = set()
    joined = []
    for item in findings:
        also = []
        for place, violation in enumerate(violations):
            same = violation["rule_id"] in RULES.get(item.code, ())
            location = violation["location"].partition("(")[0]
            target = item.target.partition("(")[0]
            if same and (location == target or location.startswith(f"{target}.")):
                also.append(violation["rule_id"])
                used.add(place)
        joined.append(replace(item, also=tuple(dict.fromkeys(f"pgrls {rule}" for rule in also))))
    extra = [
        IsolationFinding(
            code=f"pgrls-{violation['rule_id']}",
            severity=Severity.RISK,
            target=violation["location"],
            why=violation["message"],
            fix=f"-- pgrls explain {violation['rule_id']}",
        )
        for place, violation in enumerate(violations)
        if place not in used and violation["severity"] != "info"
    ]
    return (*joined, *extra)
