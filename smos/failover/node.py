"""One PostgreSQL of a cluster: its site (server and network), and the settings that change while it lives.

Those settings (whom it follows, whom it waits for) lie in `postgresql.auto.conf`, so that they can be changed without a
restart and a rewound server can be given its own again.
"""

import shutil

import psycopg
from psycopg.conninfo import make_conninfo

from smos.failover.ground import Ground

COPY_S = 300.0
CONNECT_S = 10
"""Seconds for one connection of the administrator."""
SETTINGS = {
    "wal_level": "replica",
    "max_wal_senders": "10",
    "min_wal_size": "4MB",  # segments that are kept for use again
    "wal_keep_size": "96MB",  # for a standby that was away, and for pg_rewind
    # 5 s by default: a standby that has just lost its primary may sit them out before it is promoted.
    "wal_retrieve_retry_interval": "50ms",
    "wal_receiver_status_interval": "1s",
    # Both default to 60 s. What is frozen for a while must not be taken for dead while a loaded machine drills.
    "wal_sender_timeout": "300s",
    "wal_receiver_timeout": "300s",
    "max_connections": "40",
}
STANDBY_MARK = "standby.signal"
AUTO_CONF = "postgresql.auto.conf"


class Node:
    """A server and its network. name: also what it is called in `synchronous_standby_names`."""

    def __init__(self, ground: Ground, *, name: str, memory: bool = False) -> None:
        self.name = name
        self._owner = ground.owner
        self._values: dict[str, str] = {}
        self.site = ground.site(name, SETTINGS | {"cluster_name": name}, memory=memory)
        self.server = self.site.server
        self.network = self.site.network

    def start(self) -> None:
        """Start the server and its network."""
        self.server.start()
        self.network.start()

    def near(self, user: str | None = None, **options: str) -> str:
        """Return the connection string of somebody who sits beside the server: no network lies between."""
        return self.server.endpoint.conninfo("postgres", user, connect_timeout=CONNECT_S, **options)

    def over_network(self, user: str, **options: str) -> str:
        """Return the connection string of a client, a standby or a tool elsewhere."""
        words = {
            **self.site.reach,
            "dbname": "postgres",
            "user": user,
            "connect_timeout": str(CONNECT_S),
            **options,
        }
        return make_conninfo(**words)

    def administer(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Return a connection of the administrator, who needs no network. Raises psycopg.OperationalError."""
        return psycopg.connect(self.near(), autocommit=True)

    def ask(self, query: str, *values: object) -> object:
        """Return the first value of a query's first row, None when there is none."""
        with self.administer() as connection:
            row = connection.execute(query.encode(), values or None).fetchone()
        return None if row is None else row[0]

    def run(self, *statements: str) -> None:
        """Run statements as the administrator, each in a transaction of its own."""
        with self.administer() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def set(self, **values: str) -> None:
        """Change settings; a server that runs reads them at once."""
        self._values |= values
        self.write_settings()
        if self.server.running:
            self.ask("SELECT pg_reload_conf()")

    def write_settings(self) -> None:
        """Write this server's own settings: a rewound data directory holds another server's."""
        lines = "".join(
            f"{key} = '{value.replace(chr(39), chr(39) * 2)}'\n" for key, value in self._values.items()
        )
        path = self.server.data_dir / AUTO_CONF
        fresh = path.with_name(f"{AUTO_CONF}.new")
        fresh.write_text(lines, encoding="utf-8")
        fresh.chmod(0o600)
        self._owner.give(fresh)
        fresh.replace(path)

    def put_log_on_disk(self) -> None:
        """Move the write-ahead log of a stopped server away from its data: commits wait for this directory."""
        log = self._owner.directory(f"{self.name}-wal")
        place = self.server.data_dir / "pg_wal"
        self._owner.run(["/bin/cp", "-R", f"{place}/.", log], timeout_s=COPY_S)
        self.server.share(log)
        if place.is_symlink():  # of the server that this one is a copy of
            place.unlink()
        else:
            shutil.rmtree(place)
        place.symlink_to(log)
        self._owner.give(place)

    def mark_standby(self) -> None:
        """Let every later start of this server be that of a standby: read-only."""
        mark = self.server.data_dir / STANDBY_MARK
        mark.touch(mode=0o600)
        self._owner.give(mark)

    def unmark_standby(self) -> None:
        """Take the mark away."""
        (self.server.data_dir / STANDBY_MARK).unlink(missing_ok=True)

    def timeline(self) -> int:
        """Return the timeline: of what it writes, or, for a standby, of what it replays."""
        return int(str(self.ask(TIMELINE)))

    def follows(self) -> bool:
        """Whether it is in recovery."""
        return bool(self.ask("SELECT pg_is_in_recovery()"))


TIMELINE = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN"
    " greatest((SELECT coalesce(max(received_tli), 0) FROM pg_stat_wal_receiver),"
    "  (SELECT timeline_id FROM pg_control_checkpoint()))"
    " ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END"
)
"""The control file tells the new timeline only after the next checkpoint, so a primary is asked what it writes."""
