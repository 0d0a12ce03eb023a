"""The clusters that negative controls share: made when the first case needs them, made anew when one is spoilt."""

from smos.checks.failover.exercise import FailoverLab
from smos.failover.campaign import observe_stall, stop
from smos.failover.cluster import Cluster
from smos.failover.drill import CLIENTS, Drill
from smos.failover.facts import Campaign, Disaster, Failover, LeaderLoss, Mode, Stall
from smos.failover.ground import ground_for
from smos.failover.procedure import Procedure
from smos.failover.vaultcluster import VaultCluster
from smos.failover.vaultdrill import lose_leader, lose_quorum
from smos.provision.owner import Owner
from smos.provision.servers import servers_for
from smos.target import Objectives, Provision


class Servers:
    """A PostgreSQL cluster and a Vault cluster of one worker."""

    def __init__(self, owner: Owner, provision: Provision = Provision.EMBEDDED) -> None:
        self._owner = owner
        self._provision = provision
        self._cluster: Cluster | None = None
        self._vault: VaultCluster | None = None
        self._made = 0
        self._campaign: Campaign | None = None
        self._leaders: tuple[LeaderLoss, ...] = ()

    def cluster(self) -> Cluster:
        """Return a PostgreSQL cluster that is whole."""
        if self._cluster is None:
            self._made += 1
            ground = ground_for(self._provision, self._owner)
            self._cluster = Cluster(self._owner, name=f"f{self._made}n", ground=ground, memory=True)
            self._cluster.start()
        return self._cluster

    def renew(self) -> None:
        """Give the PostgreSQL cluster up: the next one begins on its first timeline."""
        if self._cluster is not None:
            stop(self._cluster)
            self._cluster = None

    def vault(self) -> VaultCluster:
        """Return the Vault cluster."""
        if self._vault is None:
            self._vault = VaultCluster(self._owner, name="fbao", make=servers_for(self._provision).openbao)
            self._vault.start()
        return self._vault

    def fail_over(self, mode: Mode, disaster: Disaster, procedure: Procedure) -> Failover:
        """Drill once; a cluster that is not whole afterwards is given up."""
        cluster = self.cluster()
        drill = Drill(cluster, disaster, procedure)
        try:
            cluster.set_mode(mode)
            return drill.run()
        finally:
            if not drill.whole:
                stop(cluster)
                self._cluster = None

    def campaign(self) -> Campaign:
        """Return the record of whole drills: each mode loses its primary once, and once after a cut.

        The synchronous one, which is to withstand whatever befalls the primary, loses it in every way.
        """
        if self._campaign is None:
            failovers: list[Failover] = []
            stalls: list[Stall] = []
            for mode in Mode:
                self.cluster().set_mode(mode)
                stalls.append(observe_stall(self.cluster()))
                first = Procedure(laggard=mode is Mode.QUORUM)
                failovers.append(self.fail_over(mode, Disaster.KILL, first))
                others = self.cluster().kinds[1:] if mode is Mode.SYNCHRONOUS else ()
                failovers += [self.fail_over(mode, kind, Procedure()) for kind in (*others, Disaster.LAG)]
            version = self.cluster().version
            self._campaign = Campaign(
                version=version,
                load=CLIENTS,
                failovers=tuple(failovers),
                stalls=tuple(stalls),
                kinds=self.cluster().kinds,
            )
        return self._campaign

    def leaders(self) -> tuple[LeaderLoss, ...]:
        """Return the record of a whole drill: the leader is lost once."""
        if not self._leaders:
            self._leaders = (lose_leader(self.vault()),)
        return self._leaders

    def whole(self) -> FailoverLab:
        """Return the lab of a check on drills that nothing is done to."""
        return FailoverLab(
            objectives=Objectives(),
            campaign=self.campaign,
            leaders=self.leaders,
            quorum=lambda: lose_quorum(self.vault()),
        )

    def stop(self) -> None:
        """End everything."""
        if self._cluster is not None:
            stop(self._cluster)
        if self._vault is not None:
            self._vault.stop()
