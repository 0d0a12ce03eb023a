"""What a database says about itself, as far as isolation depends on it: plain frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from smos.postgres.names import qualified

TABLES = ("r", "p")
"""Kinds of relations that can have row security: ordinary and partitioned tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One role. may_become: every role it can act as or switch to, itself apart. settings: `ALTER ROLE … SET`.

    may_take: those that it can switch to, or grant itself, as it administers them. stands_in: those whose rights it
    has or can get in any way. predefined: roles of PostgreSQL's own among these.
    login: it can log in itself. reachable: it, or a role that can become it, can log in.
    """

    name: str
    login: bool = False
    superuser: bool = False
    bypass: bool = False
    create_role: bool = False
    replication: bool = False
    inherit: bool = True
    bootstrap: bool = False
    may_become: tuple[str, ...] = ()
    may_take: tuple[str, ...] = ()
    stands_in: tuple[str, ...] = ()
    predefined: tuple[str, ...] = ()
    reachable: bool = False
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. base: the type below domains; category: as in pg_type; default: SQL or None.

    length: of varchar(n) and char(n). labels: of an enum. domain_checks: conditions on VALUE.
    """

    name: str
    type: str
    base: str
    category: str
    not_null: bool = False
    default: str | None = None
    always: bool = False
    generated: bool = False
    length: int | None = None
    labels: tuple[str, ...] = ()
    domain_checks: tuple[str, ...] = ()

    @property
    def insertable(self) -> bool:
        """Whether a statement may give it a value."""
        return not self.generated


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """A unique or exclusion constraint, or a unique index; `primary` for the primary key.

    loose: it has a WHERE or expressions, or it is an exclusion constraint; `columns` are then all that these mention.
    """

    name: str
    columns: tuple[str, ...]
    primary: bool = False
    loose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key: `columns` point at `parent_columns` of the relation with the OID `parent`."""

    name: str
    columns: tuple[str, ...]
    parent: int
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A CHECK constraint: the columns it reads and its expression."""

    name: str
    columns: tuple[str, ...]
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy. command: ALL, SELECT, INSERT, UPDATE or DELETE. roles: names, or PUBLIC."""

    name: str
    command: str
    permissive: bool
    roles: tuple[str, ...]
    using: str | None
    check: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table, view, materialized view or foreign table.

    kind: as in pg_class (r, p, v, m, f). rights: role to privileges on the whole relation, inherited ones included;
    granted: role (or PUBLIC) to privileges in its access list, the owner's apart; column_rights: role to privilege
    to columns, where the right is not on the whole. reads: OIDs of the relations that a view's query names.
    bound, partition_keys: of partitions and partitioned tables. updatable: a view that passes writes on.
    guarded: a trigger looks at rows before they are inserted or updated. triggers: OIDs of the functions of all
    triggers. ruled: a rule rewrites what is written.
    """

    oid: int
    schema: str
    name: str
    kind: str
    owner: str
    row_security: bool = False
    forced: bool = False
    partition: bool = False
    guarded: bool = False
    triggers: tuple[int, ...] = ()
    ruled: bool = False
    parents: tuple[int, ...] = ()
    bound: str = ""
    partition_keys: tuple[str, ...] = ()
    invoker: bool = False
    barrier: bool = False
    updatable: bool = False
    definition: str = ""
    rows: float = 0
    columns: tuple[Column, ...] = ()
    uniques: tuple[Unique, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    conditions: tuple[Condition, ...] = ()
    policies: tuple[Policy, ...] = ()
    reads: tuple[int, ...] = ()
    index_leads: tuple[str, ...] = ()
    rights: Mapping[str, frozenset[str]] = field(default_factory=dict)
    granted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    column_rights: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name for people."""
        return qualified(self.schema, self.name)

    @property
    def sql(self) -> str:
        """Its name for statements."""
        return f"{ident(self.schema)}.{ident(self.name)}"

    def column(self, name: str) -> Column | None:
        """Return the column of this name."""
        return next((item for item in self.columns if item.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function or procedure of the database's own. arguments: (name, type) of what a caller gives.

    volatility: i, s or v. executable: the probed roles that may call it. settings: its `SET` clauses.
    """

    oid: int
    schema: str
    name: str
    arguments: tuple[tuple[str, str], ...]
    returns: str
    returns_set: bool
    kind: str
    language: str
    body: str
    definer: bool
    leakproof: bool
    volatility: str
    owner: str
    public: bool
    executable: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its name and argument types for people."""
        return f"{qualified(self.schema, self.name)}({', '.join(kind for _, kind in self.arguments)})"

    @property
    def sql(self) -> str:
        """Its name for statements."""
        return f"{ident(self.schema)}.{ident(self.name)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A sequence. table: OID of the table whose column owns it. state: its counter, where it may be read."""

    oid: int
    schema: str
    name: str
    owner: str
    table: int | None
    rights: Mapping[str, frozenset[str]]
    state: str | None = None

    @property
    def title(self) -> str:
        """Its name for people."""
        return qualified(self.schema, self.name)

    @property
    def sql(self) -> str:
        """Its name for statements."""
        return f"{ident(self.schema)}.{ident(self.name)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultPrivilege:
    """What `owner`'s new objects grant at once. kind: r tables, S sequences, f functions. schema: empty: any."""

    owner: str
    schema: str
    kind: str
    grantee: str
    rights: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjects:
    """How many large objects one owner has, and which roles (or PUBLIC) they are granted to."""

    owner: str
    count: int
    grantees: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """Everything that was discovered. context_defaults: (role or "", setting) given by ALTER ROLE or DATABASE.

    volatile: names of the functions that may have effects.
    """

    database: str
    version_num: int
    user: str
    superuser: bool
    roles: Mapping[str, Role]
    relations: Mapping[int, Relation]
    functions: Mapping[int, Function]
    sequences: Mapping[int, Sequence]
    default_privileges: tuple[DefaultPrivilege, ...] = ()
    large_objects: tuple[LargeObjects, ...] = ()
    context_defaults: tuple[tuple[str, str], ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()
    publications: tuple[tuple[str, tuple[str, ...]], ...] = ()
    statistics_readers: tuple[str, ...] = ()
    creators: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    can_connect: tuple[str, ...] = ()
    volatile: frozenset[str] = frozenset()

    def tables(self) -> tuple[Relation, ...]:
        """Return the ordinary and partitioned tables."""
        return tuple(item for item in self.relations.values() if item.kind in TABLES)


def ident(name: str) -> str:
    """Quote an identifier for a statement, always."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a value for a statement (standard_conforming_strings is on in every session of ours)."""
    return "'" + text.replace("'", "''") + "'"
