"""Verdicts, findings and checks: the words in which every result is given.

Record first, judge later. Drivers collect facts into frozen dataclasses; a judge is a pure function from
facts and objectives to findings; the verdict of a check is the worst verdict of its findings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What is known after a check. Only PASS is green."""

    PASS = "PASS"  # noqa: S105  (a verdict, not a password)
    NOT_PROVEN = "NOT_PROVEN"
    ERROR = "ERROR"
    FAIL = "FAIL"

    @property
    def rank(self) -> int:
        """Order for merging: a definite failure outweighs a broken harness, that outweighs "not proven".

        Source of the order: Jepsen's checkers merge false > unknown > true.
        """
        return _RANKS[self]

    @classmethod
    def worst(cls, verdicts: "Iterable[Verdict]") -> "Verdict":
        """Return the worst of `verdicts`; PASS when there is none."""
        return max(verdicts, key=lambda verdict: verdict.rank, default=cls.PASS)


_RANKS = {Verdict.PASS: 0, Verdict.NOT_PROVEN: 1, Verdict.ERROR: 2, Verdict.FAIL: 3}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a driver observed and could not read as healthy: a fact, not yet a judgement.

    code: stable kebab-case word, e.g. `gzip-truncated`; judges map it to a finding.
    detail: what was seen, where; never a row of data, never a secret.
    """

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of a judge. `verdict` PASS makes it information that changes nothing.

    code: stable kebab-case word, documented in docs/findings.md.
    remedy: what a person can do about it; empty for information only.
    """

    code: str
    message: str
    remedy: str = ""
    verdict: Verdict = Verdict.FAIL


def fail(code: str, message: str, remedy: str) -> Finding:
    """Return a finding that fails the check."""
    return Finding(code, message, remedy, Verdict.FAIL)


def not_proven(code: str, message: str, remedy: str) -> Finding:
    """Return a finding that leaves the check unproven."""
    return Finding(code, message, remedy, Verdict.NOT_PROVEN)


def note(code: str, message: str) -> Finding:
    """Return information that does not change the verdict."""
    return Finding(code, message, "", Verdict.PASS)


@dataclass(frozen=True, slots=True)
class Check:
    """A claim with a stable ID. Which controls it is evidence for is data: smos/evidence/controls.yml."""

    id: str
    title: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge returns: the findings, and the facts that an auditor should see beside them (JSON)."""

    findings: tuple[Finding, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings."""
        return Verdict.worst(finding.verdict for finding in self.findings)
