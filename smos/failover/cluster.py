"""A primary and two standbys, made as copies of one data directory, and how commits wait for the standbys.

    client ── network ── n0 (primary) ── network ── n1, n2 (standbys)

Roles move at every failover; the old primary comes back as a standby, so one cluster serves a whole campaign.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg

from smos.errors import ProvisionError
from smos.failover.facts import Disaster, Mode
from smos.failover.ground import EmbeddedGround, Ground
from smos.failover.node import COPY_S, Node
from smos.provision.owner import Owner
from smos.wait import wait_for

APPLICATION = "failover_app"
"""The role of the clients: an ordinary one."""
REPLICATION = "failover_replica"
SIZE = 3
ATTACH_S = 120.0
"""Seconds within which a standby is attached; a limit against hangs, some 0.2 s are usual."""
AHEAD = 60
"""Rows that a standby lacks when it was left behind."""
SCHEMA = f"""
CREATE ROLE {APPLICATION} LOGIN;
CREATE ROLE {REPLICATION} LOGIN REPLICATION;
CREATE SCHEMA drill AUTHORIZATION {APPLICATION};
CREATE TABLE drill.ledger (
    drill integer NOT NULL, client integer NOT NULL, n integer NOT NULL, token text NOT NULL,
    place bigint GENERATED ALWAYS AS IDENTITY
);
ALTER TABLE drill.ledger OWNER TO {APPLICATION};
"""
"""No key on purpose: a row that is there twice must be seen, not prevented."""


class Cluster:
    """Three servers, one of which is the primary. Everything is removed with the owner.

    ground: where they stand (default: on processes of this machine).
    memory: data on tmpfs where it has room; commits then cost less than they would, unless `log_on_disk` keeps the
    write-ahead log, the only thing that a commit waits for, where files usually are.
    """

    def __init__(
        self,
        owner: Owner,
        *,
        name: str = "pg",
        ground: Ground | None = None,
        memory: bool = False,
        log_on_disk: bool = False,
    ) -> None:
        self._log_on_disk = log_on_disk
        self._ground = ground or EmbeddedGround(owner)
        first, *others = [Node(self._ground, name=f"{name}{number}", memory=memory) for number in range(SIZE)]
        self.owner = owner
        self.nodes: tuple[Node, ...] = (first, *others)
        self.primary = first
        self.mode = Mode.ASYNCHRONOUS
        self.drills = 0

    @property
    def standbys(self) -> tuple[Node, ...]:
        """The nodes that are not the primary."""
        return tuple(node for node in self.nodes if node is not self.primary)

    @property
    def kinds(self) -> tuple[Disaster, ...]:
        """What befalls its primaries by turns."""
        return self._ground.kinds

    @property
    def version(self) -> str:
        """The version of its servers."""
        return self.primary.server.installation.version

    def start(self) -> None:
        """Make the three of them and return when both standbys are attached. Raises ProvisionError, DeadlineError."""
        first = self.primary
        first.server.start()
        with first.administer() as connection:
            connection.execute(SCHEMA)
            self._ground.admit(connection, (APPLICATION, REPLICATION, "postgres"))
        first.server.stop()
        for node in self.standbys:
            self.owner.run(
                ["/bin/cp", "-R", f"{first.server.data_dir}/.", node.server.data_dir], timeout_s=COPY_S
            )
            node.mark_standby()
            self.follow(node, first)
        if self._log_on_disk:
            for node in self.standbys:
                node.put_log_on_disk()
            first.put_log_on_disk()
        self._name_standbys()
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            for done in [pool.submit(node.start) for node in self.nodes]:
                done.result()
        self.await_standbys()

    def set_mode(self, mode: Mode) -> None:
        """Let commits wait as `mode` says, on whichever node is or becomes the primary; return when it is so."""
        self.mode = mode
        self._name_standbys()
        self.await_standbys()

    def follow(self, node: Node, primary: Node) -> None:
        """Let a node replicate from another over its network."""
        source = primary.over_network(REPLICATION, application_name=node.name)
        node.set(primary_conninfo=source.replace(" dbname=postgres", ""))

    def await_standbys(self) -> None:
        """Wait until both standbys stream from the primary, in the state that the mode asks for."""
        wanted = {Mode.ASYNCHRONOUS: "async", Mode.SYNCHRONOUS: "sync", Mode.QUORUM: "quorum"}[self.mode]

        def attached() -> bool:
            states = dict(self.states())
            return set(states) == {node.name for node in self.standbys} and wanted in states.values()

        wait_for(
            attached,
            what=f"both standbys stream from {self.primary.name} ({wanted})",
            deadline_s=ATTACH_S,
            transient=(psycopg.OperationalError,),
            on_timeout=lambda: "\n".join(node.server.logs()[-1500:] for node in self.nodes),
        )

    def leave_behind(self, standby: Node) -> None:
        """Take a standby off the stream, and return when the others have acknowledged commits that it lacks."""
        standby.set(primary_conninfo="")
        wait_for(
            lambda: standby.name not in dict(self.states()),
            what=f"{standby.name} no longer streams",
            deadline_s=ATTACH_S,
            transient=(psycopg.OperationalError,),
        )
        rows = "SELECT count(*) FROM drill.ledger"  # a commit is visible when it need not wait any longer
        enough = int(str(self.primary.ask(rows))) + AHEAD
        wait_for(
            lambda: int(str(self.primary.ask(rows))) >= enough,
            what=f"{standby.name} lacks {AHEAD} rows",
            deadline_s=ATTACH_S,
            transient=(psycopg.OperationalError,),
        )

    def await_replayed(self) -> None:
        """Wait until both standbys have replayed what the primary has written by now."""
        end = self.primary.ask("SELECT pg_current_wal_insert_lsn()::text")
        for node in self.standbys:
            wait_for(
                partial(node.ask, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", end),
                what=f"{node.name} has replayed what {self.primary.name} wrote",
                deadline_s=ATTACH_S,
                transient=(psycopg.OperationalError,),
                on_timeout=node.server.logs,
            )

    def states(self) -> tuple[tuple[str, str], ...]:
        """Return (standby, sync_state) of every standby that streams from the primary."""
        with self.primary.administer() as connection:
            rows = connection.execute(
                "SELECT application_name, sync_state FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1"
            ).fetchall()
        return tuple((str(name), str(state)) for name, state in rows)

    def node(self, name: str) -> Node:
        """Return the node of this name. Raises ProvisionError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise ProvisionError(f"There is no node {name}")

    def names_for(self, node: Node) -> str:
        """Return `synchronous_standby_names` for a node that is or becomes the primary."""
        others = ", ".join(one.name for one in self.nodes if one is not node)
        return {
            Mode.ASYNCHRONOUS: "",
            Mode.SYNCHRONOUS: f"FIRST 1 ({others})",
            Mode.QUORUM: f"ANY 1 ({others})",
        }[self.mode]

    def _name_standbys(self) -> None:
        for node in self.nodes:
            node.set(synchronous_standby_names=self.names_for(node))
