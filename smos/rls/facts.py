"""What the prober was asked, what it did and saw: facts for the judge, never rows of a user."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from smos.rls.schema import Schema


class Mode(StrEnum):
    """Where the statements that write are tried.

    READ_ONLY: nowhere. CLONE: on a copy of the schema, without rows, in a private server. IN_PLACE: in the
    database itself, in one transaction that is always rolled back.
    """

    READ_ONLY = "read-only"
    CLONE = "clone"
    IN_PLACE = "in-place"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """How to probe.

    roles: the roles of the application (default: discovered). trusted: roles that may see everything. contexts:
    statements that set a tenant's context, with `{tenant}` where its value goes (default: discovered). tenants: two
    or more values of tenants. shared: tables (`schema.name`) that all tenants share on purpose; shared_in_tenant: that
    the users of one tenant share.
    lock_timeout_s, statement_timeout_s: bounds of every statement, in seconds. live: whether the rows that exist
    are read too, in a read-only transaction.
    """

    mode: Mode = Mode.CLONE
    roles: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    shared_in_tenant: tuple[str, ...] = ()
    lock_timeout_s: float = 2
    statement_timeout_s: float = 30
    live: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One statement that a role tried, and what it did.

    context: tenant, none, empty, or bypass (a setting that opens everything). operation: SELECT, INSERT, … target:
    the relation or function. column: the one that was pointed at the other tenant. seen_own, seen_other: planted
    rows that came back. null_tenant: of those of the other, rows without a tenant. crossed: rows of the other
    tenant changed or made. state: SQLSTATE of the error, empty for none. detail: whether the error's text held a
    value of the other tenant. exposed: the condition under which the row was seen (a column and its value).
    stopped: the policies let a row of the other tenant through, and only a key that was taken stopped it.
    unstable: asked twice, it answered otherwise each time, so that `differs` tells nothing.
    """

    role: str
    context: str
    operation: str
    target: str
    statement: str
    column: str = ""
    seen_own: int = 0
    seen_other: int = 0
    null_tenant: int = 0
    crossed: int = 0
    state: str = ""
    detail: bool = False
    differs: bool = False
    exposed: str = ""
    stopped: bool = False
    unstable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something that could not be shown. code: a finding code; target: the object; reason: why; remedy: what helps."""

    code: str
    target: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """What was worked out about a table.

    owned: its rows belong to tenants. discriminators: the columns that say
    whose a row is; scoping: those of them that policies compare; principals: those that the context itself is
    compared with; users: those of them that tell users of one tenant apart. root: it is the list of tenants
    or users itself. membership: policies of other tables ask it who belongs where. planted: canary rows stand in it.
    """

    owned: bool = False
    discriminators: tuple[str, ...] = ()
    scoping: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    root: bool = False
    membership: bool = False
    planted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFacts:
    """Everything that the judge needs. contexts: how a tenant's context is set (names only, no values).

    probed: the roles that were probed. context_functions: OIDs of the functions that policies call, transitively;
    context_readers: those of them that read the session's state. sequences_moved: names whose counter the probes
    changed. statements: how many were tried. seconds: wall time by phase.
    """

    schema: Schema
    mode: Mode
    probed: tuple[str, ...]
    contexts: tuple[str, ...]
    tables: Mapping[int, TableFacts]
    acts: tuple[Act, ...] = ()
    gaps: tuple[Gap, ...] = ()
    policy_functions: frozenset[int] = frozenset()
    context_readers: frozenset[int] = frozenset()
    shadowable: frozenset[int] = frozenset()
    user_claims: tuple[tuple[int, str], ...] = ()
    per_row: tuple[tuple[int, str], ...] = ()
    sequences_moved: tuple[str, ...] = ()
    statements: int = 0
    declared_roles: bool = False
    isolation: str = ""
    options: ProbeOptions = field(default_factory=ProbeOptions)
    seconds: Mapping[str, float] = field(default_factory=dict)
