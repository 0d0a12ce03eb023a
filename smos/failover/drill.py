"""One failover, from the load until the old primary is a standby again: driven here, recorded, judged elsewhere.

load → disaster (declared) → fence → choose → promote → publish → first acknowledged write     ── RTO
     → the old primary comes back: writes to both → ledger against rows → pg_rewind → contents compared
"""

import time
from collections.abc import Sequence

import psycopg

from smos.errors import DeadlineError, SmosError
from smos.failover.cluster import APPLICATION, Cluster
from smos.failover.facts import Disaster, Durability, Failover, Outcome, Return
from smos.failover.ledger import LOCAL, PROBE, Entry, Ledger, Row, newest_survivor, tally
from smos.failover.node import Node
from smos.failover.patience import patience
from smos.failover.procedure import Procedure
from smos.failover.rejoin import rejoin
from smos.failover.service import Attempts, Service
from smos.failover.strike import await_witness
from smos.failover.writers import INSERT, Load, Writer
from smos.wait import wait_for

CLIENTS = 3
COMMITS_EACH = 50
"""Acknowledged commits of every client before the disaster."""
COMMITS_AFTER_CUT = 20
"""Commits beside the primary while replication is cut: with asynchronous replication just these must be lost."""
CUT_S = 120.0
WRITE_S = 30.0
"""Seconds after which the first writer gives a commit up that waits for a standby, and tries again."""
LOCAL_NAME = "failover-local"
LOOKS = 5
"""How often in a row a commit must be seen to wait: one that is about to be acknowledged waits for a moment as well."""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event = 'SyncRep'"
TRANSIENT = (
    psycopg.OperationalError,  # QueryCanceled is one of them
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.InterfaceError,
)


class Drill:
    """One failover of a cluster. How the servers stand afterwards: `whole`."""

    def __init__(self, cluster: Cluster, disaster: Disaster, procedure: Procedure | None = None) -> None:
        cluster.drills += 1
        self._cluster = cluster
        self._number = cluster.drills
        self._disaster = disaster
        self._steps = procedure or Procedure()
        self._old = cluster.primary
        self._ledger = Ledger(cluster.owner.directory(f"ledger-{self._number}", read_only=True))
        self._phases: dict[str, float] = {}
        self._mark = 0.0
        self._fenced = False
        self.whole = False
        """Whether the cluster can be used again."""

    def run(self) -> Failover:
        """Do it all and return what was seen. Raises SmosError when the load could not even begin."""
        cluster, old = self._cluster, self._old
        before = old.timeline()
        service = Service((old, *cluster.standbys), before, guarded=self._steps.guarded)
        load = self._load()
        begun = time.monotonic()
        with load:
            load.await_acknowledged(COMMITS_EACH)
            self._steps.before(cluster)
            behind = cluster.standbys[-1] if self._steps.laggard else None
            if behind is not None:
                cluster.leave_behind(behind)
            durability = self._durability(load.writers)
            local = self._go_on_alone() if self._disaster is Disaster.LAG else None
            latencies, writing = load.latencies, sum(writer.writes for writer in load.writers)
            witness = old.site.watch()
            declared = self._mark = time.monotonic()
            self._steps.strike(old, self._disaster)
            befell = await_witness(self._disaster, witness, self._steps.seen_s)
            try:
                new, rto, error = self._fail_over(service, before + 1, declared)
            finally:
                if local is not None:
                    local.stop()
                load.stop()
        after = new.timeline() if rto is not None else None
        returned = self._bring_back(service, new) if after is not None and self._steps.returns else None
        entries, rows = self._audit(new)
        counted = tally(entries, rows, declared)
        survivor = newest_survivor(entries, rows, declared)
        rejoined = None
        if after is not None and after > before:  # on one timeline there is no telling who wrote what
            rejoined, self.whole = rejoin(cluster, old, new, self._steps)
        return Failover(
            number=self._number,
            mode=cluster.mode,
            disaster=self._disaster,
            old=old.name,
            new=new.name,
            rto_s=rto,
            rpo_s=declared - (begun if survivor is None else survivor) if counted.lost else 0.0,
            phases=self._phases,
            latencies=latencies,
            durability=durability,
            tally=counted,
            timeline_before=before,
            timeline_after=after,
            returned=returned,
            rejoin=rejoined,
            error=error,
            behind=behind.name if behind is not None else "",
            befell=befell,
            writing=writing,
        )

    def _load(self) -> Load:
        conninfo = self._old.over_network(APPLICATION)
        return Load([self._writer(conninfo, PROBE + 1 + number) for number in range(CLIENTS)])

    def _writer(self, conninfo: str, client: int, ledger: Ledger | None = None, **options: str) -> Writer:
        return Writer(
            conninfo,
            ledger or self._ledger,
            drill=self._number,
            client=client,
            statements=self._steps.session,
            **options,
        )

    def _durability(self, writers: Sequence[Writer]) -> Durability:
        said = sorted({writer.synchronous_commit for writer in writers})
        with self._old.administer() as connection:
            names = connection.execute("SHOW synchronous_standby_names").fetchone()
            overrides = connection.execute(OVERRIDES).fetchall()
        unsafe = [
            f"{node.name}: {name} = off"
            for node in self._cluster.nodes
            for name in ("fsync", "full_page_writes")
            if node.ask("SELECT current_setting(%s)", name) == "off"
        ]
        return Durability(
            synchronous_commit=", ".join(said),
            names=str(names[0]) if names else "",
            states=self._cluster.states(),
            overrides=tuple(str(row[0]) for row in overrides),
            unsafe=tuple(unsafe),
        )

    def _go_on_alone(self) -> Writer:
        """Cut replication, and write beside the primary until enough was acknowledged, or the commit waits."""
        self._old.network.cut()
        ledger = self._ledger
        if self._steps.forgetful:
            ledger = Ledger(self._cluster.owner.directory("forgotten", read_only=True))
        local = self._writer(self._old.near(APPLICATION), LOCAL, ledger, name=LOCAL_NAME)
        local.start()

        looks = 0

        def seen() -> bool:
            nonlocal looks
            if local.acknowledged >= COMMITS_AFTER_CUT:
                return True
            if not local.writes:
                raise SmosError(f"The client beside the primary ended: {local.ended or 'no reason'}")
            looks = looks + 1 if self._old.ask(WAITING, LOCAL_NAME) else 0
            return looks >= LOOKS

        wait_for(seen, what="commits beside a cut-off primary are acknowledged or wait", deadline_s=CUT_S)
        return local

    def _fail_over(self, service: Service, timeline: int, declared: float) -> tuple[Node, float | None, str]:
        cluster = self._cluster
        self._steps.fence(cluster, self._old)
        self._phase("fence")
        self._fenced = not self._old.server.running
        new = self._steps.choose(cluster)
        self._phase("choose")
        self._steps.promote(cluster, new)
        self._phase("promote")
        self._steps.publish(service, new, timeline)
        try:
            self._first_write(service, new)
        except DeadlineError as error:
            return new, None, error.message
        self._phase("write")
        cluster.primary = new
        return new, self._mark - declared, ""

    def _first_write(self, service: Service, new: Node) -> None:
        limit_s = min(WRITE_S, self._steps.promote_s)
        with self._ledger.journal(PROBE) as journal:
            made = 0

            def written() -> bool:
                nonlocal made
                warned: list[str] = []
                with service.connect() as connection, patience(connection, limit_s):
                    connection.add_notice_handler(lambda said: warned.append(str(said.message_primary)))
                    made += 1
                    token = journal.attempt(made)
                    connection.execute(INSERT, (self._number, PROBE, made, token))
                    if warned:  # no acknowledgement: it is on this server, and waits for another
                        raise psycopg.OperationalError(warned[0])
                    acknowledged = time.monotonic()
                    node = connection.execute("SHOW cluster_name").fetchone()
                    if node is None or node[0] != new.name:
                        return False  # it was the wrong one: no write on the new primary
                    journal.acknowledge(made, acknowledged)
                return True

            wait_for(
                written,
                what=f"a write is acknowledged by {new.name}",
                deadline_s=self._steps.promote_s,
                transient=TRANSIENT,
                on_timeout=lambda: new.server.logs()[-2000:],
            )

    def _bring_back(self, service: Service, new: Node) -> Return:
        """Let the old primary come back and try to write to both, in every way that a client could."""
        old = self._old
        attempts = Attempts(self._ledger, self._number, new.name)
        tried = []
        if (
            self._disaster is not Disaster.FREEZE or not old.server.running
        ):  # nobody hears from what is frozen
            tried.append(attempts.at(old.near(APPLICATION), "old primary, before it is back"))
        error = ""
        try:
            self._steps.bring_back(self._cluster, old)
        except SmosError as problem:  # it does not even start: nobody can write to it
            error = problem.message
        near, plain = old.near(APPLICATION), "old primary"
        for conninfo, through, statements in (
            (near, plain, ()),
            (near, f"{plain}, asking for read-write", READ_WRITE),
            (old.near(), f"{plain}, as superuser", READ_WRITE),
            (old.over_network(APPLICATION), f"{plain}, over the network", ()),
        ):
            tried.append(attempts.at(conninfo, through, statements))
            if tried[-1].outcome is Outcome.WAITS:
                break  # it takes commits, and each would wait as this one did
        tried += [
            attempts.through_service(service),
            attempts.through_service(Service((old, new), service.timeline, guarded=service.guarded)),
        ]
        running = old.server.running
        taken = {Outcome.ACCEPTED, Outcome.WAITS}
        if running and not any(item.outcome in taken and item.node == old.name for item in tried):
            try:
                old.server.restart()
            except SmosError:  # PostgreSQL itself may refuse: its own timeline goes further than the branch
                running = False
            tried.append(attempts.at(near, f"{plain}, started once more"))
        return Return(
            fenced_before_promotion=self._fenced, attempts=tuple(tried), running=running, error=error
        )

    def _audit(self, new: Node) -> tuple[tuple[Entry, ...], tuple[Row, ...]]:
        """Return the ledger, and the rows of this drill that the new primary has."""
        self._steps.audited(new, self._number)
        with new.administer() as connection:
            found = connection.execute(
                "SELECT client, n, token, place FROM drill.ledger WHERE drill = %s", (self._number,)
            ).fetchall()
        rows = tuple(
            Row(int(str(c)), int(str(n)), str(token), int(str(place))) for c, n, token, place in found
        )
        return self._ledger.read(), rows

    def _phase(self, name: str) -> None:
        now = time.monotonic()
        self._phases[name] = now - self._mark
        self._mark = now


OVERRIDES = (
    "SELECT coalesce('role ' || r.rolname, 'every role') || ', '"
    " || coalesce('database ' || d.datname, 'every database')"
    " || ': ' || c FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole"
    " LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c"
    " WHERE c LIKE 'synchronous_commit=%' ORDER BY 1"
)
READ_WRITE = (
    "SET default_transaction_read_only = off",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
)


def run_drill(cluster: Cluster, disaster: Disaster, procedure: Procedure | None = None) -> Failover:
    """Run one failover and return the record. The cluster is whole again afterwards unless `rejoin` says otherwise."""
    return Drill(cluster, disaster, procedure).run()
