"""What every report of one run says about the run itself."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from smos.checks.registry import OF_A_GIVEN_TARGET
from smos.target import Provision, Scope, Settings, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """One run. Objectives in seconds; started in UTC.

    provision, sandbox: how the servers came to exist, how strong the isolation was ("none": no drill took
    place). backup_set: the set that was restored, None where there was none. not_required: (check ID, why).
    valid_days: how long the run counts as evidence, see `evidence.valid_days`.
    """

    run_id: str
    scope: str
    target: str
    provision: str
    provision_reason: str
    sandbox: str
    started: datetime
    backup_set: str | None
    rto_objective_s: float
    rpo_objective_s: float
    not_required: tuple[tuple[str, str], ...]
    valid_days: int = 92

    @property
    def self_test(self) -> bool:
        """Whether this run speaks about the harness only."""
        return self.scope != Scope.PRODUCTION.value

    @property
    def scope_words(self) -> str:
        """The scope as a sentence that nobody can misread."""
        if self.self_test:
            return "self-test: proves the harness, no control is satisfied"
        return f"production: speaks about {self.target}"


def scope_of(target: Target, provision: Provision, suites: Iterable[str]) -> Scope:
    """Return what a run of these suites speaks about.

    A suite whose servers were provisioned speaks about the stack as it is shipped, never about production; one such
    suite makes a self-test of the whole run, which has one verdict.
    """
    of_target = OF_A_GIVEN_TARGET | ({"pitr"} if target.physical is not None else set())
    given = provision is Provision.LIVE or of_target.issuperset(suites)
    return target.scope if given else Scope.SELF_TEST


def subject_of(target: Target, settings: Settings, suites: Collection[str]) -> tuple[str, Scope]:
    """Return the name and the scope of what a run of these suites speaks about.

    Where only a database was given, with --dsn and without a target file, it is that database.
    """
    if settings.target is None and settings.dsn and frozenset(suites) == {"rls"}:
        return database_name(settings.dsn), Scope.PRODUCTION
    return target.name, scope_of(target, settings.provision, suites)


def database_name(dsn: str) -> str:
    """Return `host/database` of a libpq string or URI, as far as it says so; never a role or a credential."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(dsn)
    if parts.get("service"):
        return f"service {_plain(parts['service'])}"
    host = str(parts.get("host") or parts.get("hostaddr") or "localhost")
    # A path is a socket's directory: this machine.
    shown = "localhost" if host.startswith(("/", "@")) else _plain(host)
    return f"{shown}/{_plain(parts.get('dbname') or 'default database')}"


def _plain(word: object) -> str:
    """Return a word as it is where it is a plain name: libpq also takes a whole string, with a password, for one."""
    text = str(word)
    return text if re.fullmatch(r"[\w.,:\[\] -]{1,200}", text) else "…"
