"""The registry of faults: named ways in which reality can be broken, and what must notice each of them.

Adding a fault is one small function:

    @fault("F22", "A table is missing", "dump", content("table-missing", "attachments", database="chatwoot"))
    def table_missing(work: Workspace) -> None:
        work.edit_dump("chatwoot", "DROP TABLE attachments")

The function breaks a copy; the real check is then run against it (smos/faults/dr/exercise.py) and must say what the
expectation says, in a finding that names the broken object.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from smos.checks.registry import suite_of
from smos.verdict import Judgement, Verdict

if TYPE_CHECKING:
    Inject = Callable[[Any], None]  # what is broken differs by suite: a backup's copy, a server, a database

MODULES = (
    "dr.backups",
    "dr.postgres",
    "dr.hostile",
    "dr.volumes",
    "dr.vault",
    "dr.encryption",
    "dr.harness",
    "dr.live",
    "vault.transit",
    "vault.keys",
    "vault.secrets",
    "vault.access",
    "vault.tokens",
    "vault.audit",
    "vault.seal",
    "vault.autounseal",
    "vault.telemetry",
    "vault.hardening",
    "vault.snapshot",
    "demo.rls",
    "demo.seed",
    "demo.cleanup",
    "demo.isolation",
    "rls.pitfalls",
    "observability.delivery",
    "observability.context",
    "observability.outage",
    "observability.memory",
    "observability.retention",
    "observability.configuration",
    "observability.panels",
    "observability.alerts",
    "observability.errors",
    "observability.metrics",
    "observability.selfwatch",
    "observability.conformance",
    "observability.containers",
    "containers.made",
    "containers.struck",
    "pitr.backups",
    "pitr.log",
    "pitr.moments",
    "failover.commits",
    "failover.fencing",
    "failover.rejoining",
    "failover.vault",
)
"""Modules of this package that register faults, in the order of the matrix; the folder is the suite."""
_ID = re.compile(r"F(?P<number>\d{2,3})(?P<letter>[a-z]?)")
"""F01 to F99: backups and drills; F100s: Vault; F200s: row-level security and demo; F300s: observability;
F40 to F46 and F400 to F449: physical backups; F73, F74 and F450 to F479: failover."""


class Variant(StrEnum):
    """In which state the manifest is when the check runs.

    AS_IS: as the backup wrote it; a changed artifact no longer fits it. REHASHED: hashes and sizes recomputed and
    the manifest signed again with the real key, so that no hash catches anything. WITHOUT_MANIFEST: manifest and
    signature deleted, as with backups of other tools.
    """

    AS_IS = "as-is"
    REHASHED = "rehashed"
    WITHOUT_MANIFEST = "without-manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What one check must say of one variant of a fault.

    codes: acceptable finding codes, one of which must be there with `verdict`. mentions: words that the message of
    that finding must hold: it must be found for the right reason. verdict: of the check as a whole.
    """

    check: str
    codes: tuple[str, ...]
    mentions: tuple[str, ...] = ()
    verdict: Verdict = Verdict.FAIL
    variant: Variant = Variant.AS_IS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A named way in which reality can be broken. breaks: what it strikes, in a word or two, for the matrix.

    databases, volumes: what a restore is narrowed to, so that only what matters is restored.
    """

    id: str
    title: str
    breaks: str
    expected: tuple[Expectation, ...]
    inject: "Inject"
    databases: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The catalogue's number, without the letter that tells several faults of one number apart."""
        return int(self.id.strip(ascii_lowercase + "F"))

    @property
    def suite(self) -> str:
        """The suite whose checks must catch it; it decides what `inject` is given."""
        return suite_of(self.expected[0].check)

    @property
    def checks(self) -> tuple[str, ...]:
        """The checks that must catch it."""
        return tuple(dict.fromkeys(item.check for item in self.expected))


@dataclass(frozen=True, slots=True)
class Case:
    """One run of one check against one variant of one fault."""

    fault: Fault
    expectation: Expectation

    @property
    def id(self) -> str:
        """A stable name: F22-rehashed-DR-03."""
        return f"{self.fault.id}-{self.expectation.variant}-{self.expectation.check}"


_FAULTS: dict[str, Fault] = {}


def fault(
    id_: str,
    title: str,
    breaks: str,
    *expected: Expectation | Iterable[Expectation],
    databases: tuple[str, ...] = (),
    volumes: tuple[str, ...] = (),
) -> "Callable[[Inject], Inject]":
    """Register the decorated function as the fault `id_`. Raises ValueError for what can't be a fault."""
    flat = tuple(
        one for item in expected for one in ((item,) if isinstance(item, Expectation) else tuple(item))
    )
    if not _ID.fullmatch(id_) or id_ in _FAULTS or not flat:
        raise ValueError(
            f"{id_}: not an ID of the form F22 or F22b, registered already, or caught by nothing"
        )
    cases = [(item.check, item.variant) for item in flat]
    if len(set(cases)) != len(cases):
        raise ValueError(f"{id_}: two expectations of one check and variant")
    if len({suite_of(item.check) for item in flat}) != 1:
        raise ValueError(f"{id_}: a fault is injected into one suite's subject")

    def register(inject: "Inject") -> "Inject":
        _FAULTS[id_] = Fault(
            id=id_,
            title=title,
            breaks=breaks,
            expected=flat,
            inject=inject,
            databases=databases,
            volumes=volumes,
        )
        return inject

    return register


def caught(
    check: str,
    codes: str | tuple[str, ...],
    *mentions: str,
    verdict: Verdict = Verdict.FAIL,
    variant: Variant = Variant.AS_IS,
) -> Expectation:
    """Return the expectation that `check` says one of `codes`, in a message that holds `mentions`."""
    return Expectation(
        check=check,
        codes=(codes,) if isinstance(codes, str) else codes,
        mentions=mentions,
        verdict=verdict,
        variant=variant,
    )


def everywhere(check: str, codes: str | tuple[str, ...], *mentions: str) -> tuple[Expectation, ...]:
    """Return expectations for damage that a check must see whatever the manifest says, and without one."""
    return tuple(caught(check, codes, *mentions, variant=variant) for variant in Variant)


def content(
    codes: str | tuple[str, ...],
    *mentions: str,
    verdict: Verdict = Verdict.FAIL,
    without: Expectation | None = None,
) -> tuple[Expectation, ...]:
    """Return expectations for damage inside a dump: caught by its bytes, and by its content when the bytes agree.

    Without a manifest nobody says what there should be: DR-03 can't be proven, unless `without` expects more.
    """
    return (
        caught("DR-02", ("hash-mismatch", "size-mismatch", "missing-artifact", "extra-file")),
        caught("DR-03", codes, *mentions, verdict=verdict),
        caught("DR-03", codes, *mentions, verdict=verdict, variant=Variant.REHASHED),
        without
        or caught("DR-03", "no-manifest", verdict=Verdict.NOT_PROVEN, variant=Variant.WITHOUT_MANIFEST),
    )


def faults(suite: str | None = None) -> tuple[Fault, ...]:
    """Return every fault of a suite (None: of all), in the catalogue's order."""
    for name in MODULES:
        # What other suites break is not imported: it costs seconds in every process that collects.
        if suite in {None, name.partition(".")[0]}:
            import_module(f"smos.faults.{name}")
    found = (item for item in _FAULTS.values() if suite in {None, item.suite})
    return tuple(sorted(found, key=lambda item: (item.number, item.id)))


def cases(suite: str | None = None) -> tuple[Case, ...]:
    """Return every case of a suite (None: of all), in a stable order."""
    return tuple(Case(item, expectation) for item in faults(suite) for expectation in item.expected)


def mismatch(expectation: Expectation, judgement: Judgement) -> str:
    """Say how a judgement differs from what the fault must provoke; empty: it was detected for the right reason."""
    seen = ", ".join(sorted({item.code for item in judgement.findings if item.verdict is not Verdict.PASS}))
    if judgement.verdict is not expectation.verdict:
        return (
            f"{expectation.check} says {judgement.verdict}, expected {expectation.verdict}"
            f" (findings: {seen or 'none'})"
        )
    named = [item for item in judgement.findings if item.code in expectation.codes]
    if not any(item.verdict is expectation.verdict for item in named):
        return (
            f"{expectation.check} says {seen or 'nothing'}, expected one of: {', '.join(expectation.codes)}"
        )
    reasons = [item.message for item in named if item.verdict is expectation.verdict]
    if not any(all(word in text for word in expectation.mentions) for text in reasons):
        return f"no such finding mentions {', '.join(expectation.mentions)}; they say: {' | '.join(reasons)}"
    return ""
