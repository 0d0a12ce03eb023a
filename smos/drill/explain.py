"""Whose fault a failed statement is: pure rules on its SQLSTATE and on the gaps that were recorded before it."""

import re
from collections.abc import Sequence

from smos.drill.feed import Failure
from smos.drill.sqlrules import SUPERUSER, UNEXPECTED
from smos.verdict import Problem

UNDEFINED = frozenset({"42704", "42883", "42P01", "3F000", "42703", "42P13", "0A000", "undefined"})
"""Something is missing that an earlier gap may have left out."""
NEW_SYNTAX = UNDEFINED | {"42601", "22023"}
DENIED = "42501"
DISK_FULL = frozenset({"53100", "53400", "58030", "sandbox-disk-full"})
UNREACHED = frozenset({"08001", "HV00N", "HV00M"})
LOST = frozenset({
    "connection-lost", "connection-failed", "57P01", "57P02", "57P03", "08006", "08P01", "53200", "53300",
})  # fmt: skip
TIMEOUT = "restore-timeout"
EXPLAINING = (
    "extension-unavailable", "extension-withheld", "collation-unavailable", SUPERUSER, "version-gap", UNEXPECTED,
)  # fmt: skip
"""Gaps that leave something out, in the order in which they are named as the reason."""


def explain(  # noqa: PLR0911  (one reason after another, the surest first)
    failure: Failure, gaps: Sequence[str], *, newer_tool: str, limit_s: float
) -> tuple[str, Problem | None]:
    """Return the gap that excuses a failure ("" for none), and what is to be recorded as one beside it.

    gaps: codes recorded so far. newer_tool: version of pg_dump where it is newer than the server, else "".
    limit_s: seconds that the restore was given.
    """
    where = f"{place(failure.line)}{failure.kind}"
    if failure.code == DENIED:
        return SUPERUSER, Problem(SUPERUSER, f"{where}: refused without superuser rights")
    if failure.code in DISK_FULL:
        detail = "the sandbox's disk is full, or the restore grew beyond its limit"
        return "sandbox-disk-full", Problem("sandbox-disk-full", detail)
    if failure.code == TIMEOUT:
        return TIMEOUT, Problem(TIMEOUT, f"not done within {limit_s:g} s")
    if failure.code in UNREACHED:
        return "network-cut", Problem("network-cut", f"{where}: it connects to another server")
    if failure.code in LOST:
        return "sandbox-lost", Problem("sandbox-lost", "the sandbox's server closed the connection")
    if failure.code in UNDEFINED and (reason := next((code for code in EXPLAINING if code in gaps), "")):
        return reason, None
    if failure.code in NEW_SYNTAX and newer_tool:
        detail = f"written by pg_dump {newer_tool}, newer than the sandbox's server"
        return "version-gap", Problem("version-gap", detail)
    return "", None


def place(line: int | None) -> str:
    """Return "line N: ", or nothing."""
    return "" if line is None else f"line {line}: "


def newer(version: str, server_version_num: int) -> bool:
    """Whether a version as a dump names it ("18.1 (Debian …)") is of a newer major version than the server's."""
    found = re.match(r"(\d+)", version)
    return found is not None and int(found[1]) > server_version_num // 10000
