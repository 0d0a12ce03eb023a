"""What the drivers of the demo's checks record. Names, counts and SQLSTATEs only: never a row, never a password."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One thing that a role tried. The judge compares what it saw with what it may see.

    code: the finding when they differ. what: the claim, as a sentence without a full stop. seen, allowed: a count
    ("0", "2"), an SQLSTATE ("42501"), or "same"/"differs" where two answers are compared.
    """

    code: str
    what: str
    role: str
    statement: str
    allowed: tuple[str, ...]
    seen: str

    @property
    def holds(self) -> bool:
        """Whether what was seen is what may be seen."""
        return self.seen in self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """All that was tried for one check. unreachable: why something could not be tried at all; empty: all was."""

    observations: tuple[Observation, ...]
    unreachable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFacts:
    """A seeded product. price: as the server prints it."""

    sku: str
    name: str
    category: str
    price: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFacts:
    """What the seed left in a database.

    rows: by table, rows of origin `seed`. other_rows: rows of other origins in the seed's tenant right after seeding.
    digests: SHA-256 of each table's seed rows. totals: of each order, by number, in CLP, and its recorded payments.
    local_offsets: hours that the database's own clock is apart from UTC, in January and in July 2026.
    """

    rows: Mapping[str, int]
    other_rows: Mapping[str, int]
    digests: Mapping[str, str]
    products: tuple[ProductFacts, ...]
    order_states: tuple[str, ...]
    emails: tuple[str, ...]
    ruts: tuple[str, ...]
    texts: tuple[str, ...]
    price_type: str
    encoding: str
    timezone: str
    local_offsets: tuple[int, int]
    unvalidated_constraints: tuple[str, ...]
    missing_constraints: tuple[str, ...]
    lines_apart_from_price: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReseedFacts:
    """Before and after a second run of the seed. Digests by table; versions: of the rows' physical versions.

    repaired: digests after an operator had changed and deleted seed rows and the seed ran again. visitors_before,
    visitors_after: digests of rows that a visitor had made. error: SQLSTATE of a run that failed, empty: none.
    fresh: digests after the seed was loaded into an empty schema.
    """

    before: Mapping[str, str]
    after: Mapping[str, str]
    versions_before: Mapping[str, str]
    versions_after: Mapping[str, str]
    repaired: Mapping[str, str]
    fresh: Mapping[str, str]
    visitors_before: str
    visitors_after: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgedRow:
    """A planted row. must_go: what a clean-up at that moment must do with it. gone: what it did."""

    label: str
    table: str
    must_go: bool
    gone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Rows that one statement deleted from one table, and the transaction it was part of."""

    transaction: str
    table: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupFacts:
    """One clean-up at a shifted moment. days: as asked for.

    removed: as the clean-up says; vanished: rows fewer in all tables. seed_before, seed_after: one digest of all seed
    and kept rows. again: rows that a second run at once removed.
    real_clock: rows gone or kept that contradict `must_go` when the clock is the server's own, after planting
    rows relative to it. error: SQLSTATE of a run that failed.
    """

    days: int
    rows: tuple[AgedRow, ...]
    removed: int
    vanished: int
    finished: bool
    again: int
    seed_before: str
    seed_after: str
    real_clock: tuple[AgedRow, ...]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFacts:
    """How a clean-up of many rows went about it.

    batch: most rows that one transaction may remove. expired: rows that had to go. after_stop: expired rows left when
    it was stopped after two batches, and what it said of being finished. left: after it ran again. order: tables in
    the order in which each was last touched. locked_seconds: how long it took while another session held an expired
    row; locked_kept: that row was still there then, locked_later: and was gone after the next run.
    refuses: what was refused, by name: SQLSTATE, or "accepted".
    """

    batch: int
    expired: int
    deletions: tuple[Deletion, ...]
    stopped_finished: bool
    after_stop: int
    left: int
    locked_seconds: float
    locked_kept: bool
    locked_later: bool
    refuses: Mapping[str, str]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleFacts:
    """A role as the catalogue has it. memberships: roles it may become. owns: relations and schemas it owns."""

    name: str
    can_login: bool
    elevated: tuple[str, ...]
    memberships: tuple[str, ...]
    owns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFacts:
    """A policy: command (SELECT, …, ALL), for whom, and its two expressions as the server prints them."""

    table: str
    name: str
    command: str
    roles: tuple[str, ...]
    permissive: bool
    using: str
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """A table: its row security, and whether some index leads with the column that the policies filter by."""

    name: str
    kind: str
    row_security: bool
    forced: bool
    indexed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFacts:
    """How a table is read by the application: whether the context is an InitPlan, whether an index serves it."""

    table: str
    role: str
    init_plan: bool
    index: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFacts:
    """The demo's schema as the catalogue has it.

    grants: (grantee, privilege, object) beyond SELECT, INSERT, UPDATE, DELETE, EXECUTE and USAGE, and whatever PUBLIC
    has. open_views: views that don't ask with their reader's rights. materialized: that a role may read. definers:
    SECURITY DEFINER functions that a role may call. volatile_context: context functions that are not STABLE.
    leakproof: functions of the demo marked so. defaults: default privileges that open new objects. publications,
    sequences, large_objects: names or counts. column_writes: (role, table.column) that must be the server's own.
    preset_context: (role or database, setting) that set a tenant before anybody did.
    """

    roles: tuple[RoleFacts, ...]
    tables: tuple[TableFacts, ...]
    policies: tuple[PolicyFacts, ...]
    plans: tuple[PlanFacts, ...]
    grants: tuple[tuple[str, str, str], ...]
    open_views: tuple[str, ...]
    materialized: tuple[str, ...]
    definers: tuple[str, ...]
    volatile_context: tuple[str, ...]
    leakproof: tuple[str, ...]
    defaults: tuple[str, ...]
    publications: tuple[str, ...]
    sequences: tuple[str, ...]
    large_objects: int
    column_writes: tuple[tuple[str, str], ...]
    preset_context: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginTry:
    """An attempt to log in somewhere. outcome: "in", or the SQLSTATE or reason with which it was refused."""

    role: str
    server: str
    database: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EscapeTry:
    """An attempt to get out of the database. outcome: "done", or the SQLSTATE with which it was refused."""

    role: str
    what: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryFacts:
    """What the demo's credentials open. Identifiers: of the two clusters (None: not known).

    own: positive control: each role can enter the demo itself. environment: what the database says that it is.
    links: foreign servers, subscriptions and extensions in the demo that reach out of it.
    """

    demo_identifier: str | None
    production_identifier: str | None
    environment: str
    own: tuple[LoginTry, ...]
    elsewhere: tuple[LoginTry, ...]
    production: tuple[LoginTry, ...]
    without_password: tuple[LoginTry, ...]
    escapes: tuple[EscapeTry, ...]
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """A service of the compose file, as far as isolation is concerned."""

    name: str
    image: str
    networks: tuple[str, ...]
    ports: tuple[str, ...]
    read_only: bool
    privileged: bool
    dropped: tuple[str, ...]
    added: tuple[str, ...]
    security_options: tuple[str, ...]
    healthcheck: bool
    limited: bool
    restart: str
    labels: Mapping[str, str]
    host_modes: tuple[str, ...]
    mounts: tuple[str, ...]
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)
    """Settings whose names look like credentials, as they are written in the file (never resolved)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeFacts:
    """The compose file. problem: why it could not be read; empty: it could."""

    project: str
    services: tuple[ServiceConfig, ...]
    internal_networks: tuple[str, ...]
    guarded_networks: tuple[str, ...]
    external: tuple[str, ...]
    networks: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class N8nFacts:
    """How the demo's n8n answered. healthy: None where nobody could ask it."""

    url: str
    healthy: bool | None
    ready: bool | None
    detail: str
