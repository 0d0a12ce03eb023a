"""What a fault of the failover suite is given: the drill's procedure, its disaster, its objectives, the servers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from smos.checks.failover.exercise import exercise
from smos.failover.cluster import Cluster
from smos.failover.facts import Campaign, Disaster, LeaderLoss, Mode
from smos.failover.procedure import Procedure
from smos.failover.vaultcluster import VaultNode
from smos.failover.vaultdrill import FIRST_WRITE_S, kill, lose_leader
from smos.faults.failover.servers import Servers
from smos.faults.vault.wire import Meddled, Meddler
from smos.target import Objectives
from smos.verdict import Judgement

MODES = {"FAILOVER-02": Mode.SYNCHRONOUS, "FAILOVER-03": Mode.QUORUM}
"""Check to the mode that it speaks of; the others are shown with the asynchronous one."""


@dataclass(slots=True)
class FailoverWork:
    """One case. disaster: what befalls the primary. drills: False: the record of whole drills is judged.

    first_write_s: seconds within which a Vault must take a write after its leader was lost. mode: another one than that
    of which the check speaks. lose_leader: what befalls a Vault's leader.
    """

    servers: Servers
    disaster: Disaster = Disaster.KILL
    procedure: Procedure = field(default_factory=Procedure)
    objectives: Objectives = field(default_factory=Objectives)
    drills: bool = True
    first_write_s: float = FIRST_WRITE_S
    mode: Mode | None = None
    lose_leader: Callable[[VaultNode], None] = kill
    undo: ExitStack = field(default_factory=ExitStack)

    def steps(self, **changes: Any) -> None:
        """Let the procedure do something otherwise (see Procedure)."""
        self.procedure = replace(self.procedure, **changes)

    def expect(self, **hours: float) -> None:
        """Let the objectives be others, and judge whole drills by them: rto_hours, rpo_hours."""
        self.objectives = Objectives(**hours)
        self.drills = False

    def sql(self, statement: str, undo: str) -> None:
        """Run a statement on the primary before the load; `undo` is run on whoever is the primary afterwards."""
        self.servers.cluster().primary.run(statement)
        self.undo.callback(lambda: self.servers.cluster().primary.run(undo))

    def before(self, deed: Callable[[Cluster], None]) -> None:
        """Do something while the load runs, just before the disaster."""
        self.steps(before=deed)

    def on_new_primary(self, statement: str) -> None:
        """Run a statement on the new primary before its rows are held against the ledger; {drill} is its number."""
        self.steps(audited=lambda node, drill: node.run(statement.format(drill=drill)))

    def meddle(self, meddler: Meddler) -> None:
        """Let the wire between Vault's clients and the cluster lie."""
        vault = self.servers.vault()
        before = vault.wire
        vault.wire = lambda endpoint: Meddled(endpoint, meddler)

        def restore() -> None:
            vault.wire = before

        self.undo.callback(restore)

    def run(self, check_id: str) -> Judgement:
        """Drill, and run the real check on what was recorded."""
        lab = replace(self.servers.whole(), objectives=self.objectives)
        if self.drills:
            lab = replace(lab, campaign=lambda: self._campaign(check_id), leaders=self._leaders)
        return exercise(check_id, lab)

    def _campaign(self, check_id: str) -> Campaign:
        mode = self.mode or MODES.get(check_id, Mode.ASYNCHRONOUS)
        procedure = replace(self.procedure, returns=check_id == "FAILOVER-05")
        run = self.servers.fail_over(mode, self.disaster, procedure)
        return Campaign(version="", load=0, failovers=(run,))

    def _leaders(self) -> tuple[LeaderLoss, ...]:
        return (lose_leader(self.servers.vault(), self.first_write_s, self.lose_leader),)


@contextmanager
def working(servers: Servers) -> Iterator[FailoverWork]:
    """Yield a case; what it changed on the servers is undone at the end."""
    work = FailoverWork(servers)
    with work.undo:
        yield work
