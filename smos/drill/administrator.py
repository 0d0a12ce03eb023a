"""What the sandbox's administrator does for a restore: roles, databases, extensions; from parsed values only.

The roles that make a restore without superuser rights possible:
- one role per database, `smos_sandbox_restore_N`, owns the database while it is loaded;
- `smos_sandbox_all` is a member of every role of the backup and lends that to the former (ALTER … OWNER TO);
- every role of the backup is, while loading, a member of `smos_sandbox_creator`, which may create in every schema
  (PostgreSQL asks that of a new owner, and only superusers pass without it).
"""

import threading
from typing import Any

import psycopg
from psycopg import sql

from smos.drill.globals import LIST_SETTINGS, WITHHELD_ROLES, Globals, Membership, Role, Setting, ordered
from smos.drill.restore_facts import WithheldRole
from smos.drill.sandbox import OWN_PREFIX, SandboxFacts, admin_connection
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.target import Limits
from smos.verdict import Problem

ALL = f"{OWN_PREFIX}all"
CREATOR = f"{OWN_PREFIX}creator"
SIXTEEN, FOURTEEN = 160000, 140000
READ_ALL = "pg_read_all_data"
PREDEFINED = "pg_"
USER_CONTEXTS = frozenset({"user", "superuser"})


class Administrator:
    """One connection to the sandbox's maintenance database, used by all threads in turn."""

    copies_files = True
    """Whether a database is made of copied files: half the processor time of one that is made through the
    write-ahead log, for two checkpoints, which cost nothing where nothing is synchronised."""

    def __init__(self, server: EmbeddedPostgres, facts: SandboxFacts, limits: Limits) -> None:
        self.server = server
        self.version = facts.version_num
        self._facts = facts
        self._limits = limits
        self._lock = threading.RLock()
        self._connection = admin_connection(server)
        self._known: set[str] = set()
        self._numbers = 0
        self._deferred_noinherit: list[str] = []
        self._settings: list[Setting] = []
        self._lent: list[tuple[str, bool]] = []
        self.created: list[str] = []
        self.withheld: dict[str, WithheldRole] = {}
        self.problems: list[Problem] = []

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def run(self, statement: str, *names: str) -> None:
        """Execute one statement; each {} is an identifier."""
        with self._lock:
            self._connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))

    def compose(self, statement: sql.Composed) -> None:
        """Execute one statement that was composed from values."""
        with self._lock:
            self._connection.execute(statement)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask something."""
        with self._lock:
            return list(self._connection.execute(query.encode(), values).fetchall())

    # --- the sandbox's own roles ------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Create the sandbox's own roles."""
        self._known = {str(row[0]) for row in self.rows("SELECT rolname FROM pg_roles")}
        for name in (ALL, CREATOR):
            self.run("CREATE ROLE {} NOLOGIN", name)
        self.run("CREATE ROLE {} LOGIN NOSUPERUSER BYPASSRLS", self._facts.reader)
        if self.version >= FOURTEEN:
            self.run("GRANT {} TO {}", READ_ALL, self._facts.reader)
        self.run("GRANT pg_read_all_stats TO {}", self._facts.reader)
        self._known |= {ALL, CREATOR, self._facts.reader}

    def restore_role(self) -> str:
        """Create the role that loads one database."""
        with self._lock:
            self._numbers += 1
            name = f"{OWN_PREFIX}restore_{self._numbers}"
            # BYPASSRLS: a foreign key is validated as this role, also after FORCE ROW LEVEL SECURITY was set.
            self.run("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS", name)
            self._grant(ALL, name)
            for setting, value in (
                ("lc_messages", "C"), ("log_min_messages", "fatal"), ("log_min_error_statement", "panic"),
                ("temp_file_limit", str(min(self._limits.bytes // 1024, 2**31 - 1))),
            ):  # fmt: skip
                self.compose(
                    sql.SQL("ALTER ROLE {} SET {} TO {}").format(
                        sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)
                    )
                )
            self._known.add(name)
            return name

    def release(self, name: str) -> bool:
        """Take the restore role away; True when it is gone (it stays, powerless, where it still owns something)."""
        with self._lock:
            self.run("ALTER ROLE {} NOLOGIN", name)
            self.run("REVOKE {} FROM {}", ALL, name)
            try:
                self.run("DROP ROLE {}", name)
            except psycopg.errors.DependentObjectsStillExist:
                return False
            return True

    def finish(self) -> tuple[str, ...]:
        """Take the loading roles away and set what was put off; return the sandbox's own roles that remain."""
        with self._lock:
            for setting in self._settings:
                self.apply_setting(setting)
            for name in self._deferred_noinherit:
                self.run("ALTER ROLE {} NOINHERIT", name)
            for name, bypasses in self._lent:
                self.run("REVOKE {} FROM {}", READ_ALL, name)
                if not bypasses:
                    self.run("ALTER ROLE {} NOBYPASSRLS", name)
            for name in (ALL, CREATOR):
                try:
                    self.run("DROP ROLE {}", name)
                except psycopg.Error as error:
                    self.problems.append(Problem("sandbox-role-left", f"{name}: SQLSTATE {error.sqlstate}"))
            rows = self.rows(
                "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s) ORDER BY 1", OWN_PREFIX
            )
            return tuple(str(row[0]) for row in rows)

    def superusers(self) -> tuple[str, ...]:
        """Return the names of all superusers."""
        return tuple(
            str(row[0]) for row in self.rows("SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY 1")
        )

    # --- roles of the backup ----------------------------------------------------------------------------------

    def ensure_role(self, name: str) -> bool:
        """Create a role that cannot log in where there is none of this name; True when it had to."""
        with self._lock:
            if name in self._known:
                return False
            if name.startswith((PREDEFINED, OWN_PREFIX)):
                return True  # can't be created; the statement that needs it will fail and say so
            self.run("CREATE ROLE {} NOLOGIN", name)
            self._join(name)
            self._lend(name, bypasses=False)  # it may have been a superuser
            self.created.append(name)
            return True

    def apply(self, found: Globals) -> None:
        """Recreate roles, memberships and settings. What is withheld or refused is recorded."""
        self.problems += found.problems
        for role in found.roles.values():
            if role.name.startswith((PREDEFINED, OWN_PREFIX)) or role.name == self._facts.administrator:
                self.problems.append(
                    Problem("role-name-taken", f"{role.name}: the sandbox has a role of this name")
                )
                continue
            self._attempt(f"role {role.name}", lambda role=role: self._create(role))
        for membership in ordered(found.memberships, self._grants_freely):
            self._attempt(
                f"membership of {membership.member} in {membership.role}",
                lambda membership=membership: self._member(membership),
            )
        self._settings += found.settings  # at the end: one for all roles would reach the sessions that load
        for grant in found.parameters:
            if not grant.privileges:
                continue
            parts = sql.SQL("GRANT SET ON PARAMETER {} TO {}").format(
                sql.Identifier(grant.parameter), sql.Identifier(grant.role)
            )
            option = sql.SQL(" WITH GRANT OPTION") if grant.grantable else sql.SQL("")
            self._attempt(
                f"right on parameter {grant.parameter}", lambda text=parts + option: self.compose(text)
            )
        for name in found.tablespaces:
            self.problems.append(Problem("tablespace-mapped", f"{name}: the sandbox has one tablespace"))

    def apply_setting(self, setting: Setting, *, database: str | None = None) -> None:
        """Apply a setting of a role or database, unless the server does not know it or keeps it to itself."""
        context = self.rows("SELECT context FROM pg_settings WHERE lower(name) = lower(%s)", setting.name)
        if (context and context[0][0] not in USER_CONTEXTS) or (not context and "." not in setting.name):
            self.problems.append(
                Problem("setting-unavailable", f"{setting.name} can't be set in the sandbox")
            )
            return
        where = database if database is not None else setting.database
        parts: list[sql.Composable] = [sql.SQL("ALTER ")]
        if setting.role:
            parts += [sql.SQL("ROLE {} ").format(sql.Identifier(setting.role))]
            parts += [sql.SQL("IN DATABASE {} ").format(sql.Identifier(where))] if where else []
        elif where and not setting.database:
            parts += [sql.SQL("ROLE ALL IN DATABASE {} ").format(sql.Identifier(where))]
        elif where:
            parts += [sql.SQL("DATABASE {} ").format(sql.Identifier(where))]
        else:
            parts += [sql.SQL("ROLE ALL ")]
        values = setting.values if setting.name.lower() in LIST_SETTINGS else (", ".join(setting.values),)
        parts.append(
            sql.SQL("SET {} TO {}").format(
                sql.Identifier(setting.name), sql.SQL(", ").join(sql.Literal(value) for value in values)
            )
        )
        self._attempt(f"setting {setting.name}", lambda: self.compose(sql.Composed(parts)))

    def _attempt(self, what: str, action: Any) -> None:
        """Do one thing; record its failure with the SQLSTATE alone (a message may quote a value)."""
        try:
            action()
        except psycopg.Error as error:
            self.problems.append(Problem("globals-failed", f"{what}: SQLSTATE {error.sqlstate}"))

    def _create(self, role: Role) -> None:
        attributes = set(role.attributes)
        held = {"SUPERUSER"} & attributes
        if self.version < SIXTEEN:  # such a role could give itself the right to run programs
            held |= {"CREATEROLE"} & attributes
        attributes -= held
        if self.version < SIXTEEN and "INHERIT" not in attributes:
            self._deferred_noinherit.append(role.name)
            attributes.add("INHERIT")
        words = [
            word if word in attributes else f"NO{word}"
            for word in ("INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS")
        ]
        with self._lock:
            if role.name not in self._known:
                self.run("CREATE ROLE {} NOLOGIN NOSUPERUSER", role.name)
                self._join(role.name)
                self.created.append(role.name)
            text = sql.SQL(
                "ALTER ROLE {} WITH NOSUPERUSER " + " ".join(words) + " CONNECTION LIMIT {}"
            ).format(sql.Identifier(role.name), sql.Literal(role.connection_limit))
            if held:
                self.withheld[role.name] = WithheldRole(name=role.name, attributes=tuple(sorted(held)))
            self.compose(text)
            if "SUPERUSER" in held:
                self._lend(role.name, bypasses="BYPASSRLS" in attributes)
            if role.valid_until is not None:
                self.compose(
                    sql.SQL("ALTER ROLE {} VALID UNTIL {}").format(
                        sql.Identifier(role.name), sql.Literal(role.valid_until)
                    )
                )
            if role.password is not None:
                self.compose(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                        sql.Identifier(role.name), sql.Literal(role.password)
                    )
                )
            if role.comment is not None:
                self.compose(
                    sql.SQL("COMMENT ON ROLE {} IS {}").format(
                        sql.Identifier(role.name), sql.Literal(role.comment)
                    )
                )

    def _lend(self, name: str, *, bypasses: bool) -> None:
        """Let a former superuser read everything while loading: its materialized views are filled with its rights."""
        options = " WITH INHERIT TRUE" if self.version >= SIXTEEN else ""
        if self.version >= FOURTEEN:
            self.run("GRANT {} TO {}" + options, READ_ALL, name)
            self.run("ALTER ROLE {} BYPASSRLS", name)
            self._lent.append((name, bypasses))

    def _join(self, name: str) -> None:
        self._known.add(name)
        self._grant(name, ALL)
        self._grant(CREATOR, name)

    def _grant(self, role: str, member: str) -> None:
        options = " WITH INHERIT TRUE, SET TRUE" if self.version >= SIXTEEN else ""
        self.run("GRANT {} TO {}" + options, role, member)

    def _grants_freely(self, name: str) -> bool:
        return (
            name == self._facts.administrator
            or "SUPERUSER" in self.withheld.get(name, WithheldRole(name="", attributes=())).attributes
        )

    def _member(self, membership: Membership) -> None:
        if membership.role in WITHHELD_ROLES:
            known = self.withheld.get(membership.member, WithheldRole(name=membership.member, attributes=()))
            self.withheld[membership.member] = WithheldRole(
                name=known.name, attributes=known.attributes, roles=(*known.roles, membership.role)
            )
            return
        text: list[sql.Composable] = [
            sql.SQL("GRANT {} TO {}").format(
                sql.Identifier(membership.role), sql.Identifier(membership.member)
            )
        ]
        if self.version >= SIXTEEN:
            options = [
                ("ADMIN", membership.admin),
                ("INHERIT", membership.inherit),
                ("SET", membership.set_role),
            ]
            words = [f"{name} {'TRUE' if value else 'FALSE'}" for name, value in options if value is not None]
            text.append(sql.SQL(" WITH " + ", ".join(words)))
        elif membership.admin:
            text.append(sql.SQL(" WITH ADMIN OPTION"))
        if membership.grantor and not self._grants_freely(membership.grantor) and self.version >= SIXTEEN:
            text.append(sql.SQL(" GRANTED BY {}").format(sql.Identifier(membership.grantor)))
        self.compose(sql.Composed(text))
