"""How clients find the primary, and how they tell it from one that was replaced.

`target_session_attrs=read-write` alone is no fence: an old primary that came back is read-write too. So a client also
knows the timeline that was published last, and refuses a server on an older one.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from smos.failover.cluster import APPLICATION
from smos.failover.facts import Attempt, Outcome
from smos.failover.ledger import STRAY, Ledger
from smos.failover.node import Node
from smos.failover.patience import patience
from smos.failover.writers import INSERT

TIMELINE = "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int"
ATTEMPT_S = 3
"""Seconds for one connection of an attempt (libpq counts whole ones, 2 at least)."""
QUICK_S, SLOW_S = 2.0, 60.0
"""Seconds of patience: a commit that waits for standbys is known after the first; a machine may be slow."""
REFUSALS = (
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.ObjectNotInPrerequisiteState,
)
"""How a server says that it takes no writes: read-only, or in recovery."""
Connect = Callable[[], "psycopg.Connection[tuple[object, ...]]"]


class StaleServerError(psycopg.OperationalError):
    """The server that answered is on an older timeline than the published one."""


@dataclass(slots=True)
class Service:
    """What a client is told: the order in which to try the nodes, and the timeline to expect at least.

    guarded: whether the client looks at the timeline.
    """

    nodes: tuple[Node, ...]
    timeline: int
    guarded: bool = True

    def publish(self, primary: Node, timeline: int) -> None:
        """Say who is the primary now."""
        self.nodes = (primary, *(node for node in self.nodes if node is not primary))
        self.timeline = timeline

    @property
    def conninfo(self) -> str:
        """The connection string with all hosts, for a server that says that it takes writes."""
        parts = [conninfo_to_dict(node.over_network(APPLICATION)) for node in self.nodes]
        password = {key: str(value) for key, value in parts[0].items() if key == "passfile"}
        return make_conninfo(
            host=",".join(str(part["host"]) for part in parts),
            port=",".join(str(part["port"]) for part in parts),
            dbname="postgres",
            user=APPLICATION,
            target_session_attrs="read-write",
            connect_timeout=ATTEMPT_S,
            application_name="failover-service",
            **password,
        )

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Return a connection to the primary. Raises psycopg.OperationalError where there is none to be trusted."""
        connection = psycopg.connect(self.conninfo, autocommit=True)
        try:
            self._trust(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _trust(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        with patience(connection, SLOW_S):
            row = connection.execute(TIMELINE).fetchone() if self.guarded else None
        found = int(str(row[0])) if row else self.timeline
        if found < self.timeline:
            raise StaleServerError(f"it is on timeline {found}, {self.timeline} was published")


@dataclass(slots=True)
class Attempts:
    """Attempts to write after a promotion, each noted in the ledger: an unwanted row must not look like nobody's."""

    ledger: Ledger
    drill: int
    new: str
    made: int = 0
    _sent: bool = False

    def through_service(self, service: Service) -> Attempt:
        """Try as every client does."""
        try:
            return self._patiently(service.connect, "service", ())
        except StaleServerError as error:
            return Attempt(through="service", outcome=Outcome.REFUSED, detail=str(error))
        except psycopg.OperationalError as error:
            return Attempt(through="service", outcome=Outcome.UNREACHABLE, detail=_first(error))

    def at(self, conninfo: str, through: str, statements: Sequence[str] = ()) -> Attempt:
        """Try at one server. statements: run first."""
        words = make_conninfo(conninfo, connect_timeout=ATTEMPT_S)
        try:
            return self._patiently(lambda: psycopg.connect(words, autocommit=True), through, statements)
        except psycopg.OperationalError as error:
            return Attempt(through=through, outcome=Outcome.UNREACHABLE, detail=_first(error))

    def _patiently(self, connect: Connect, through: str, statements: Sequence[str]) -> Attempt:
        """Try, and where the server took its time without having taken the commit, try once more with patience."""
        with connect() as connection:
            found = self._write(connection, through, statements, QUICK_S)
        if found is None:
            with connect() as connection:
                found = self._write(connection, through, statements, SLOW_S)
        return found or Attempt(
            through=through, outcome=Outcome.UNREACHABLE, node="?", detail="it took too long"
        )

    def _write(
        self,
        connection: "psycopg.Connection[tuple[object, ...]]",
        through: str,
        statements: Sequence[str],
        limit_s: float,
    ) -> Attempt | None:
        """Write once. None: the statement was cancelled before it was taken."""
        with patience(connection, limit_s) as lost:
            found = self._insert(connection, through, statements)
        cancelled = found.outcome is Outcome.UNREACHABLE and lost.is_set()
        return None if cancelled else found

    def _insert(
        self, connection: "psycopg.Connection[tuple[object, ...]]", through: str, statements: Sequence[str]
    ) -> Attempt:
        warned: list[str] = []
        connection.add_notice_handler(lambda diagnostic: warned.append(str(diagnostic.message_primary)))
        self.made += 1
        self._sent = False
        node = ""
        try:
            row = connection.execute("SHOW cluster_name").fetchone()
            node = str(row[0]) if row else ""
            for statement in statements:
                connection.execute(statement.encode())
            with self.ledger.journal(STRAY) as journal:
                token = journal.attempt(self.made)
                self._sent = True
                connection.execute(INSERT, (self.drill, STRAY, self.made, token))
                if warned:  # it is there, and waits for standbys that will never answer
                    return Attempt(through=through, outcome=Outcome.WAITS, node=node, detail=warned[0])
                if node == self.new:
                    journal.acknowledge(self.made, time.monotonic())
        except REFUSALS as error:
            if self._sent:
                with self.ledger.journal(STRAY) as journal:
                    journal.refuse(self.made)
            return Attempt(through=through, outcome=Outcome.REFUSED, node=node, detail=_first(error))
        except psycopg.Error as error:
            return Attempt(through=through, outcome=Outcome.UNREACHABLE, node=node, detail=_first(error))
        return Attempt(through=through, outcome=Outcome.ACCEPTED, node=node)


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:200]
