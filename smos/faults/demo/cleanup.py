"""F230 to F239: a clean-up that removes too much, too little, too fast, or that others can misuse."""

# A fault's docstring says what is broken, and its SQL keeps its lines.
# ruff: noqa: D401, E501

from smos.faults.demo.workspace import DemoWorkspace
from smos.faults.registry import caught, fault


@fault(
    "F230", "The clean-up removes fresh data", "clean-up", caught("DEMO-03", "live-deleted", "event fresh")
)
def fresh_deleted(work: DemoWorkspace) -> None:
    """An age in minutes instead of hours."""
    work.edit_cleanup("make_interval(hours => 24 * days)", "make_interval(mins => days)")


@fault(
    "F231", "The clean-up leaves expired data", "clean-up", caught("DEMO-03", "expired-kept", "expired event")
)
def expired_left(work: DemoWorkspace) -> None:
    """One table was forgotten."""
    work.edit_cleanup("WHERE e.origin IN ('visitor', 'generated') AND e.created_at < $1", "WHERE false")


@fault(
    "F231a", "The clean-up ignores the days that it is given", "clean-up", caught("DEMO-03", "expired-kept")
)
def days_ignored(work: DemoWorkspace) -> None:
    """A month, whatever is asked for."""
    work.edit_cleanup("make_interval(hours => 24 * days)", "make_interval(days => 30)")


@fault(
    "F231b", "The clean-up ignores the moment that it is given", "clean-up", caught("DEMO-03", "expired-kept")
)
def moment_ignored(work: DemoWorkspace) -> None:
    """The server's clock, always."""
    work.edit_cleanup("coalesce(at, clock_timestamp())", "clock_timestamp()")


@fault("F232", "The clean-up removes rows that are kept", "clean-up",
       caught("DEMO-03", "permanent-deleted", "kept event"))  # fmt: skip
def kept_deleted(work: DemoWorkspace) -> None:
    """Neither the statement nor the policy looks at the origin."""
    work.edit_cleanup("e.origin IN ('visitor', 'generated')", "true")
    work.sql(
        "ALTER POLICY cleanup_removes ON demo.analytics_events USING (true)",
        "ALTER POLICY cleanup_locks ON demo.analytics_events USING (true)",
    )


@fault("F232a", "The clean-up removes the seed", "clean-up", caught("DEMO-03", "permanent-deleted", "`seed`"))
def seed_deleted(work: DemoWorkspace) -> None:
    """After a week the demo is empty."""
    work.edit_cleanup("e.origin IN ('visitor', 'generated')", "e.origin <> 'kept'")
    work.sql(
        "ALTER POLICY cleanup_removes ON demo.analytics_events USING (origin <> 'kept')",
        "ALTER POLICY cleanup_locks ON demo.analytics_events USING (origin <> 'kept')",
    )


@fault("F232b", "The clean-up's role may delete the seed and what is kept", "policies",
       caught("DEMO-04", "maintenance-too-powerful", "kept rows"))  # fmt: skip
def policy_open(work: DemoWorkspace) -> None:
    """The procedure is right, but nothing holds the role back."""
    work.sql("ALTER POLICY cleanup_removes ON demo.products USING (true)")


@fault("F232c", "The clean-up's role may read people's data", "grants",
       caught("DEMO-04", "maintenance-too-powerful", "names of people"))  # fmt: skip
def role_reads(work: DemoWorkspace) -> None:
    """Keys and ages are enough for it."""
    work.sql("GRANT SELECT ON demo.users TO demo_maintenance")


@fault("F232d", "The clean-up runs in a database that is not the demo", "clean-up",
       caught("DEMO-04", "maintenance-too-powerful", "does not say it is the demo"))  # fmt: skip
def anywhere(work: DemoWorkspace) -> None:
    """A connection string with another name would empty production."""
    work.edit_cleanup(
        "IF NOT EXISTS (SELECT FROM demo.identity WHERE environment = 'demo') THEN", "IF false THEN"
    )


@fault("F233", "The limit lies on the wrong side", "clean-up",
       caught("DEMO-03", "live-deleted", "exactly at the limit"))  # fmt: skip
def boundary(work: DemoWorkspace) -> None:
    """Exactly seven days is not older than seven days."""
    work.edit_cleanup("e.created_at < $1\n            LIMIT", "e.created_at <= $1\n            LIMIT")


@fault("F233a", "A week is counted in days of the calendar", "clean-up",
       caught("DEMO-03", "live-deleted", "exactly at the limit"))  # fmt: skip
def calendar_days(work: DemoWorkspace) -> None:
    """One hour too early after Chile's clocks changed."""
    work.edit_cleanup("make_interval(hours => 24 * days)", "make_interval(days => days)")


@fault(
    "F234",
    "Parents go before their children",
    "clean-up",
    caught("DEMO-03", ("cleanup-failed", "expired-kept")),
)
def parents_first(work: DemoWorkspace) -> None:
    """A foreign key refuses it, and nothing is cleaned up any more."""
    work.edit_cleanup("FOREACH step IN ARRAY steps LOOP",
                      "FOREACH step IN ARRAY (SELECT array_agg(s ORDER BY n DESC) FROM unnest(steps) WITH ORDINALITY AS u(s, n)) LOOP")  # fmt: skip


@fault("F234a", "Half of a conversation goes", "clean-up",
       caught("DEMO-03", "live-deleted", "expired conversation with a younger message"))  # fmt: skip
def half_a_conversation(work: DemoWorkspace) -> None:
    """Messages go by their own age, whatever their conversation holds."""
    work.edit_cleanup("AND (x.created_at >= $1 OR x.origin IN ('seed', 'kept'))))\n            LIMIT $2 FOR UPDATE OF m",
                      "AND false))\n            LIMIT $2 FOR UPDATE OF m")  # fmt: skip


@fault(
    "F235", "The clean-up works in one batch of any size", "clean-up", caught("DEMO-04", "batch-unbounded")
)
def unbounded(work: DemoWorkspace) -> None:
    """A long transaction, with every lock at once."""
    work.edit_cleanup("LIMIT $2", "")


@fault(
    "F235a",
    "The batches are one transaction",
    "clean-up",
    caught("DEMO-04", ("batch-unbounded", "not-stoppable")),
)
def no_commit(work: DemoWorkspace) -> None:
    """Batches that are not committed bound nothing."""
    work.edit_cleanup("            COMMIT;\n", "")


@fault("F235b", "The clean-up does not stop when it is told", "clean-up", caught("DEMO-04", "not-stoppable"))
def never_stops(work: DemoWorkspace) -> None:
    """max_batches is ignored."""
    work.edit_cleanup("IF batches >= max_batches THEN", "IF false THEN")


@fault(
    "F236",
    "The clean-up waits for locked rows",
    "clean-up",
    caught("DEMO-04", ("lock-not-skipped", "cleanup-failed")),
)
def waits(work: DemoWorkspace) -> None:
    """One session that forgot its transaction holds it up."""
    work.edit_cleanup("FOR UPDATE OF e SKIP LOCKED", "FOR UPDATE OF e")
    work.sql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = 0', current_database()); END $$"
    )


@fault(
    "F237",
    "Everybody may run the clean-up",
    "grants",
    caught("DEMO-12", "grant-too-wide", "PUBLIC", "demo.cleanup"),
)
def for_all(work: DemoWorkspace) -> None:
    """Procedures are PUBLIC's by default."""
    work.sql("GRANT EXECUTE ON PROCEDURE demo.cleanup TO PUBLIC")


@fault("F238", "The clean-up does nothing and says that it did", "clean-up",
       caught("DEMO-03", ("expired-kept", "cleanup-miscounts")), caught("DEMO-04", "expired-kept"))  # fmt: skip
def pretends(work: DemoWorkspace) -> None:
    """Green without work."""
    work.sql(
        "CREATE OR REPLACE PROCEDURE demo.cleanup(IN days integer DEFAULT 7, IN at timestamptz DEFAULT NULL,"
        " IN batch integer DEFAULT 1000, IN max_batches integer DEFAULT 100000, INOUT removed bigint DEFAULT 0,"
        " INOUT finished boolean DEFAULT false) LANGUAGE plpgsql AS"
        " $$ BEGIN removed := 42; finished := true; END $$"
    )
