"""In which ways faults narrow a check to where they lie. Each way is run on a pristine Vault as well: it must be quiet.

A case whose narrowing is not listed here breaks off (`VaultWork.run`), so the list holds all that are in use.
"""

from dataclasses import dataclass
from typing import Self

from smos.vault.verify.lab import VaultLab


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """One way of looking at a part of a check's course; the fields are VaultLab's."""

    check: str
    parts: frozenset[str] | None = None
    paths: tuple[str, ...] | None = None
    subject_alone: bool = False

    @classmethod
    def of(cls, check: str, lab: VaultLab) -> Self:
        """Return how a lab narrows this check."""
        return cls(check=check, parts=lab.parts, paths=lab.paths, subject_alone=lab.subject_alone)

    @property
    def id(self) -> str:
        """A stable name: VAULT-12-tokens."""
        words = ("alone",) if self.subject_alone else sorted(self.parts or self.paths or ("start",))
        return "-".join((self.check, *(word.replace("/", ".") for word in words)))

    def on(self, lab: VaultLab) -> VaultLab:
        """Return a lab that looks at no more than this."""
        return lab.but(parts=self.parts, paths=self.paths, subject_alone=self.subject_alone)


def _parts(check: str, *courses: tuple[str, ...]) -> tuple[Narrowing, ...]:
    return tuple(Narrowing(check=check, parts=frozenset(course)) for course in courses)


SOME_PATHS = ("mcp/github", "logs/ci/", "tenants/cl-0002")
"""Paths of the access matrix that most faults of a policy are about."""
NARROWINGS = (
    *_parts("VAULT-01", ("platform",), ("scratch",)),
    *(
        Narrowing(check="VAULT-06", paths=paths)
        for paths in (SOME_PATHS, ("logs/",), ("mcp/",), ("transit/",))
    ),
    *_parts("VAULT-07", ("roles",), ("chain",), ("wrapping",), ("approle",), ("ends",)),
    *_parts("VAULT-08", ("trail",), ("rotation",), ("only-device",), ("two-devices",)),
    Narrowing(check="VAULT-08", subject_alone=True),
    *_parts("VAULT-10", (), ("unsealer-gone",), ("drill",)),
    *_parts("VAULT-12", ("tokens",), ("api",), ("tls",), ("process",), ("files",), ("deployment",)),
)
