"""F20 to F31: databases that come back incomplete, changed, or with other rights than they had."""

from collections.abc import Callable

from smos.drill.sandbox import admin_connection
from smos.drill.stack import Sandbox
from smos.faults.dr.contents import Contents
from smos.faults.dr.workspace import Workspace
from smos.faults.registry import Expectation, Variant, caught, content, fault
from smos.verdict import Verdict

NOT_PROVEN = Verdict.NOT_PROVEN
BYTES = ("hash-mismatch", "size-mismatch")


def in_globals(codes: str | tuple[str, ...], *mentions: str) -> tuple[Expectation, ...]:
    """Return expectations for damage in the globals: like damage in a dump."""
    return content(codes, *mentions)


def add_to_globals(work: Workspace, statement: str) -> None:
    """Put a statement into the globals, behind the first of a role that may only read."""
    role = "CREATE ROLE smarteros_readonly;\n"
    work.edit_text(work.path("globals.sql.zst"), lambda text: text.replace(role, f"{role}{statement}\n"))


def edit_plain(work: Workspace, change: Callable[[bytes], bytes]) -> None:
    """Let n8n's dump be a plain one, changed, whose hashes fit."""
    path = work.flatten("n8n", "plain")
    work.replace(path, change(path.read_bytes()))
    work.list_hashes()


def edit_contents(work: Workspace, change: Callable[[Contents], None]) -> None:
    """Change the table of contents of one database's dump."""
    path = work.path("databases/smarteros/toc.dat")
    contents = Contents.parse(path.read_bytes())
    change(contents)
    work.replace(path, contents.to_bytes())


@fault(
    "F20",
    "A statement of the dump fails (psql would go on)",
    "dump",
    caught("DR-02", BYTES, "databases/chatwoot"),
    *(
        caught("DR-03", "statement-failed", "accounts_pkey", "UniqueViolation", variant=variant)
        for variant in Variant
    ),
    databases=("chatwoot",),
)
def failing_statement(work: Workspace) -> None:
    """Repeat a row of a table with a primary key: the key can't be created."""
    work.edit_data("chatwoot", b"Cuenta 1", lambda data: data.replace(b"2\tCuenta 2", b"1\tCuenta 2", 1))


@fault(
    "F21",
    "The sandbox is not empty: what was there could hide what is missing",
    "sandbox",
    caught("DR-03", "sandbox-not-empty", "objects"),
    databases=("n8n",),
)
def sandbox_used(work: Workspace) -> None:
    """Leave a table in the sandbox before anything is restored."""

    def strike(sandbox: Sandbox) -> None:
        with admin_connection(sandbox.postgres) as connection:
            connection.execute("CREATE DOMAIN public.left_behind AS int")

    work.strikes["fetch"] = strike


@fault("F22a", "A table is missing", "dump", content("table-missing", "attachments"), databases=("chatwoot",))
def table_missing(work: Workspace) -> None:
    """Leave a table out of the dump."""
    work.edit_dump("chatwoot", "DROP TABLE attachments")


@fault("F22b", "A column is missing", "dump", content("column-missing", "private"), databases=("chatwoot",))
def column_missing(work: Workspace) -> None:
    """Leave a column out."""
    work.edit_dump("chatwoot", "ALTER TABLE messages DROP COLUMN private")


@fault(
    "F23a",
    "One row of thousands is missing",
    "dump",
    content("rows-missing", "messages"),
    databases=("chatwoot",),
)
def row_missing(work: Workspace) -> None:
    """Lose one row of three thousand."""
    work.edit_dump("chatwoot", "DELETE FROM messages WHERE id = 1500")


@fault(
    "F23b",
    "All rows of a table are missing (dumped under row security)",
    "dump",
    content("rows-missing", "users"),
    databases=("smarteros",),
)
def rows_hidden(work: Workspace) -> None:
    """Dump a table as somebody who sees none of its rows."""
    work.edit_dump("smarteros", "TRUNCATE app.users CASCADE")


@fault(
    "F23c",
    "A large object is missing",
    "dump",
    content("large-objects-differ"),
    databases=("botpress",),
)
def large_object_missing(work: Workspace) -> None:
    """Lose a recording; the row that names it is there."""
    work.edit_dump("botpress", "SELECT lo_unlink(audio) FROM recordings WHERE id = 3")


@fault(
    "F23d",
    "Rows came in that were never there",
    "dump",
    content("rows-extra", "tenants"),
    databases=("smarteros",),
)
def row_added(work: Workspace) -> None:
    """Add a tenant."""
    work.edit_dump(
        "smarteros",
        "INSERT INTO app.tenants (name, rut, region, created_at) VALUES ('Intruso', '70111111-1', 'Maule', now())",
    )


@fault("F24a", "A value is changed", "dump", content("values-changed", "messages"), databases=("chatwoot",))
def value_changed(work: Workspace) -> None:
    """Change one value; counts stay as they were."""
    work.edit_dump("chatwoot", "UPDATE messages SET content = 'otra cosa' WHERE id = 1500")


@fault(
    "F24b",
    "Values of two rows are swapped",
    "dump",
    content("values-changed", "orders"),
    databases=("smarteros",),
)
def values_swapped(work: Workspace) -> None:
    """Swap the notes of two orders: every count and every sum stays."""
    work.edit_dump(
        "smarteros",
        "UPDATE app.orders o SET note = p.note FROM app.orders p"
        " WHERE (o.id, p.id) IN ((2, 3), (3, 2)) AND o.note IS DISTINCT FROM p.note",
    )


@fault(
    "F24c",
    "A large object's content is changed",
    "dump",
    content("large-objects-differ"),
    databases=("botpress",),
)
def large_object_changed(work: Workspace) -> None:
    """Change one byte of a recording."""
    work.edit_dump("botpress", "SELECT lo_put(audio, 7, 'X') FROM recordings WHERE id = 3")


@fault(
    "F25a",
    "A role is missing",
    "globals",
    in_globals("role-missing", "smarteros_support"),
    databases=("n8n",),
)
def role_missing(work: Workspace) -> None:
    """Leave a role out of the globals."""
    work.edit_globals(lambda line: "smarteros_support" not in line)


@fault(
    "F25b",
    "A membership is missing",
    "globals",
    in_globals("membership-missing", "smarteros_readonly"),
    databases=("n8n",),
)
def membership_missing(work: Workspace) -> None:
    """Leave a GRANT of a role out."""
    work.edit_globals(lambda line: not line.startswith("GRANT smarteros_readonly"))


@fault("F25c", "A grant is missing", "dump", content("grant-missing", "app.users"), databases=("smarteros",))
def grant_missing(work: Workspace) -> None:
    """Leave a right out."""
    work.edit_dump("smarteros", "REVOKE UPDATE ON app.users FROM smarteros_app")


@fault(
    "F25d",
    "Default privileges are missing",
    "dump",
    content("default-privileges-differ", "smarteros_owner.app"),
    databases=("smarteros",),
)
def default_privileges_missing(work: Workspace) -> None:
    """Leave ALTER DEFAULT PRIVILEGES out."""
    work.edit_dump(
        "smarteros",
        "ALTER DEFAULT PRIVILEGES FOR ROLE smarteros_owner IN SCHEMA app"
        " REVOKE SELECT ON TABLES FROM smarteros_readonly",
    )


@fault(
    "F25e",
    "A right was added",
    "dump",
    content(("grant-extra", "grant-differs"), "tenants"),
    databases=("smarteros",),
)
def grant_added(work: Workspace) -> None:
    """Let everybody read every tenant."""
    work.edit_dump("smarteros", "GRANT SELECT ON app.tenants TO PUBLIC")


@fault(
    "F25f",
    "A role gained the right to create roles",
    "globals",
    in_globals(("role-changed", "role-missing"), "smarteros_app"),
    databases=("smarteros",),
)
def role_elevated(work: Workspace) -> None:
    """Give the application's role CREATEROLE."""
    work.edit_text(
        work.path("globals.sql.zst"),
        lambda text: text.replace(
            "ALTER ROLE smarteros_app WITH NOSUPERUSER INHERIT NOCREATEROLE",
            "ALTER ROLE smarteros_app WITH NOSUPERUSER INHERIT CREATEROLE",
        ),
    )


@fault(
    "F25l",
    "A role gained a password",
    "globals",
    caught("DR-03", "role-changed", "smarteros_readonly", "password", variant=Variant.REHASHED),
    databases=("n8n",),
)
def password_added(work: Workspace) -> None:
    """Let whoever knows it log in as a role that could not."""
    add_to_globals(work, "ALTER ROLE smarteros_readonly WITH PASSWORD 'opened';")


@fault(
    "F25m",
    "The globals change a setting of all roles",
    "globals",
    caught("DR-03", "role-setting-differs", "of all roles", variant=Variant.REHASHED),
    databases=("n8n",),
)
def all_roles_set(work: Workspace) -> None:
    """Let every session of every role look for its tables elsewhere."""
    add_to_globals(work, "ALTER ROLE ALL SET statement_timeout TO '1s';")


@fault(
    "F25n",
    "A predefined role became a member of an application's role",
    "globals",
    caught("DR-03", "membership-extra", "pg_read_all_data in smarteros_readonly", variant=Variant.REHASHED),
    databases=("n8n",),
)
def predefined_member(work: Workspace) -> None:
    """Give a role's rights to all who may read everything."""
    add_to_globals(work, "GRANT smarteros_readonly TO pg_read_all_data;")


@fault(
    "F25o",
    "The globals drop a role again that they made",
    "globals",
    caught(
        "DR-03",
        "unexpected-statement",
        "DROP ROLE",
        verdict=Verdict.NOT_PROVEN,
        variant=Variant.REHASHED,
    ),
    databases=("n8n",),
)
def dropped_again(work: Workspace) -> None:
    """Let psql end with one role less than was made."""
    add_to_globals(work, "DROP ROLE smarteros_readonly;")


@fault(
    "F12b",
    "A plain dump connects to a database that it does not create",
    "dump",
    caught("DR-03", "unexpected-statement", "\\connect", verdict=NOT_PROVEN),
    databases=("n8n",),
)
def database_not_created(work: Workspace) -> None:
    """Take CREATE DATABASE out of a plain dump: by hand, psql would stop at the connection."""
    settings = b"SET statement_timeout"
    edit_plain(work, lambda text: text.replace(settings, b"\\connect n8n\n" + settings, 1))


@fault(
    "F12c",
    "A plain dump drops a table again at its end",
    "dump",
    caught("DR-03", "unexpected-statement", "DROP TABLE", verdict=NOT_PROVEN),
    databases=("n8n",),
)
def table_dropped_again(work: Workspace) -> None:
    """Let psql end without a table that the dump holds whole."""
    trailer = b"--\n-- PostgreSQL database dump complete\n"
    edit_plain(
        work, lambda text: text.replace(trailer, b"DROP TABLE public.execution_entity CASCADE;\n\n" + trailer)
    )


@fault(
    "F12d",
    "A plain dump of one database drops a role",
    "dump",
    caught("DR-03", "unexpected-statement", "DROP ROLE", verdict=NOT_PROVEN),
    databases=("n8n",),
)
def role_dropped(work: Workspace) -> None:
    """Let psql take away what the globals have made, or stop there."""
    settings = b"SET statement_timeout"
    edit_plain(work, lambda text: text.replace(settings, b"DROP ROLE smarteros_readonly;\n" + settings, 1))


@fault("F25g", "An owner is lost", "dump", content("owner-differs", "app.orders"), databases=("smarteros",))
def owner_lost(work: Workspace) -> None:
    """Give the orders to the application."""
    work.edit_dump("smarteros", "ALTER TABLE app.orders OWNER TO smarteros_app")


@fault(
    "F25h",
    "An entry of a dump's table of contents has no owner, so whoever restores it gets it",
    "dump",
    content(
        "owner-differs",
        "order_state",
        without=caught(
            "DR-03", "owner-lost", "order_state", verdict=NOT_PROVEN, variant=Variant.WITHOUT_MANIFEST
        ),
    ),
    databases=("smarteros",),
)
def owner_of_entry_lost(work: Workspace) -> None:
    """Leave out one owner, who is also the database's."""
    edit_contents(work, lambda contents: contents.entry("TYPE", "order_state").update(owner=None))


@fault(
    "F25i",
    "An archive does not say how its database would be dropped, so pg_restore gives it no owner",
    "table of contents",
    caught("DR-03", "owner-differs", "database:", variant=Variant.REHASHED),
    databases=("smarteros",),
)
def owner_of_database_lost(work: Workspace) -> None:
    """Leave the owner, and take away what pg_restore asks for before it sets one."""
    edit_contents(work, lambda contents: contents.entry("DATABASE", "smarteros").update(drop=None))


@fault(
    "F25j",
    "An archive calls its database by two names",
    "table of contents",
    caught("DR-03", "database-names-differ", "elsewhere", verdict=NOT_PROVEN, variant=Variant.REHASHED),
    databases=("smarteros",),
)
def database_renamed(work: Workspace) -> None:
    """Rename the entry, and not what it defines: pg_restore would connect to a database that is not there."""
    edit_contents(work, lambda contents: contents.entry("DATABASE", "smarteros").update(tag=b"elsewhere"))


@fault(
    "F25k",
    "An archive is in an order that pg_restore can't follow",
    "table of contents",
    caught("DR-03", "contents-out-of-order", "heartbeat", verdict=NOT_PROVEN, variant=Variant.REHASHED),
    databases=("smarteros",),
)
def contents_reordered(work: Workspace) -> None:
    """Put the definition of a table behind its data."""

    def change(contents: Contents) -> None:
        entry = contents.entry("TABLE", "heartbeat")
        contents.entries.remove(entry)
        contents.entries.append(entry)

    edit_contents(work, change)


@fault(
    "F26a", "Row security is off", "dump", content("row-security-lost", "app.users"), databases=("smarteros",)
)
def row_security_lost(work: Workspace) -> None:
    """Switch it off on one table."""
    work.edit_dump("smarteros", "ALTER TABLE app.users DISABLE ROW LEVEL SECURITY")


@fault("F26b", "A policy is lost", "dump", content("policy-lost", "own_tenant"), databases=("smarteros",))
def policy_lost(work: Workspace) -> None:
    """Drop the policy that parts the tenants."""
    work.edit_dump("smarteros", "DROP POLICY own_tenant ON app.orders")


@fault(
    "F26c",
    "A policy lets everybody in",
    "dump",
    content("policy-changed", "own_tenant"),
    databases=("smarteros",),
)
def policy_widened(work: Workspace) -> None:
    """Widen what a policy lets through."""
    work.edit_dump("smarteros", "ALTER POLICY own_tenant ON app.users USING (true)")


@fault(
    "F26d",
    "Row security no longer binds the owner",
    "dump",
    content("row-security-lost", "app.orders"),
    databases=("smarteros",),
)
def force_lost(work: Workspace) -> None:
    """Take FORCE away."""
    work.edit_dump("smarteros", "ALTER TABLE app.orders NO FORCE ROW LEVEL SECURITY")


@fault(
    "F26e",
    "The function that policies ask lets a tenant be anybody",
    "dump",
    content(("function-differs", "function-body-differs"), "current_tenant"),
    databases=("smarteros",),
)
def policy_function_changed(work: Workspace) -> None:
    """Change what the policies call, and no policy."""
    work.edit_dump(
        "smarteros",
        "CREATE OR REPLACE FUNCTION app.current_tenant() RETURNS integer LANGUAGE sql STABLE RETURN 1",
    )


@fault(
    "F27a",
    "An extension is missing",
    "dump",
    content(
        "extension-missing",
        "hstore",
        without=caught("DR-03", "extension-missing", "is declared", variant=Variant.WITHOUT_MANIFEST),
    ),
    databases=("chatwoot",),
)
def extension_missing(work: Workspace) -> None:
    """Leave the extension out, with the column that needs it."""
    work.edit_dump("chatwoot", "DROP EXTENSION hstore CASCADE")


@fault(
    "F27b",
    "The source had another version of an extension",
    "manifest",
    caught("DR-03", ("extension-version-differs", "extension-version"), "hstore", verdict=NOT_PROVEN),
    databases=("chatwoot",),
)
def extension_version(work: Workspace) -> None:
    """Let the manifest tell of a version that the sandbox does not have."""
    work.edit_content("chatwoot", '"1.8"', '"1.9"')


@fault(
    "F28",
    "A sequence is behind its column",
    "dump",
    content("sequence-behind", "messages_id_seq"),
    databases=("chatwoot",),
)
def sequence_behind(work: Workspace) -> None:
    """Lose the sequence's position: the next insert would fail."""
    work.edit_dump("chatwoot", "SELECT setval('messages_id_seq', 10)")


@fault(
    "F29a",
    "An index is missing",
    "dump",
    content("index-missing", "messages_search"),
    databases=("chatwoot",),
)
def index_missing(work: Workspace) -> None:
    """Leave an index out."""
    work.edit_dump("chatwoot", "DROP INDEX messages_search")


@fault(
    "F29b",
    "An index came back invalid",
    "sandbox",
    caught("DR-03", "index-invalid", "messages_search"),
    databases=("chatwoot",),
)
def index_invalid(work: Workspace) -> None:
    """Leave an index as an interrupted build leaves it."""

    def strike(sandbox: Sandbox) -> None:
        with admin_connection(sandbox.postgres, "chatwoot") as connection:
            connection.execute(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.messages_search'::regclass"
            )

    work.strikes["verify"] = strike


@fault(
    "F29c",
    "An index is not in the order that it claims",
    "sandbox",
    caught("DR-03", "amcheck-failed"),
    databases=("chatwoot",),
)
def index_damaged(work: Workspace) -> None:
    """Let the catalogue give a primary key's index another order than its pages have; no page is touched."""

    def strike(sandbox: Sandbox) -> None:
        server = sandbox.postgres
        with admin_connection(server, "chatwoot") as connection:
            connection.execute("SET allow_system_table_mods = on")
            # The index is told to order by another operator class: what it holds is no longer in order.
            connection.execute(
                "UPDATE pg_index SET indoption = '1' WHERE indexrelid = 'public.messages_pkey'::regclass"
            )

    work.strikes["verify"] = strike


@fault(
    "F29d",
    "A constraint is missing",
    "dump",
    content("constraint-missing", "conversations"),
    databases=("chatwoot",),
)
def constraint_missing(work: Workspace) -> None:
    """Leave a CHECK out."""
    work.edit_dump("chatwoot", "ALTER TABLE conversations DROP CONSTRAINT conversations_status_check")


@fault(
    "F29e",
    "A foreign key points at rows that are not there",
    "dump",
    caught("DR-02", BYTES, "databases/chatwoot"),
    *(
        caught(
            "DR-03",
            "statement-failed",
            "messages_conversation_id_fkey",
            "ForeignKeyViolation",
            variant=variant,
        )
        for variant in Variant
    ),
    databases=("chatwoot",),
)
def reference_broken(work: Workspace) -> None:
    """Let a message belong to a conversation that nobody has."""
    work.edit_data(
        "chatwoot", "¿Cuándo llega".encode(), lambda data: data.replace(b"\n7\t8\t", b"\n7\t9999\t", 1)
    )


@fault(
    "F29f",
    "A trigger is missing",
    "dump",
    content("trigger-missing", "tenants_audit"),
    databases=("smarteros",),
)
def trigger_missing(work: Workspace) -> None:
    """Leave a trigger out."""
    work.edit_dump("smarteros", "DROP TRIGGER tenants_audit ON app.tenants")


@fault(
    "F29g",
    "A materialized view came back empty",
    "dump",
    content("materialized-view-empty", "tenants_by_region"),
    databases=("smarteros",),
)
def view_empty(work: Workspace) -> None:
    """Leave the view without its rows."""
    work.edit_dump("smarteros", "REFRESH MATERIALIZED VIEW app.tenants_by_region WITH NO DATA")


@fault(
    "F30a",
    "The encoding differs",
    "dump",
    content("database-encoding-differs", "SQL_ASCII"),
    databases=("n8n",),
)
def encoding_differs(work: Workspace) -> None:
    """Dump a database that does not know what its letters mean."""
    work.edit_dump("n8n", options="ENCODING 'SQL_ASCII' LOCALE 'C'")


@fault(
    "F30b",
    "The collation differs: ñ, á and Ü sort elsewhere",
    "dump",
    content(("collation-differs", "sort-order-differs"), "n8n"),
    databases=("n8n",),
)
def collation_differs(work: Workspace) -> None:
    """Dump a database that sorts by bytes of another locale."""
    work.edit_dump("n8n", options="LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C' LOCALE 'C'")


@fault(
    "F31",
    "The dump is of a newer major version than the sandbox",
    "dump",
    caught("DR-03", "version-gap", "99.", verdict=NOT_PROVEN),
    databases=("n8n",),
)
def newer_version(work: Workspace) -> None:
    """Let the archive's header name a server that does not exist yet."""
    path = work.path("databases/n8n/toc.dat")
    version = work.workshop.server.installation.version.encode()
    future = b"99" + version[2:]
    work.replace(path, path.read_bytes().replace(version, future))
