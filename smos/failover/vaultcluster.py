"""Three OpenBao nodes that agree by Raft: TLS between them, clients on Unix sockets."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import hvac

from smos.provision.certificates import make_certificate
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.vault.model import CLIENT_ERRORS, VaultEndpoint, opened
from smos.vault.verify.bare import health_status, initialise
from smos.wait import wait_for

SIZE = 3
SETTLE_S = 120.0
"""Seconds for an election or for a node to join; a limit against hangs, an election takes 1 to 3 s."""
MOUNT = "drill"
AUTOPILOT = "/v1/sys/storage/raft/autopilot"
ACTIVE, STANDBY, SEALED = 200, 429, 503
Wire = Callable[[VaultEndpoint], VaultEndpoint]


class VaultNode:
    """One node. killed nodes keep their storage."""

    def __init__(self, server: EmbeddedOpenBao, port: PortClaim) -> None:
        self.server = server
        self.port = port

    @property
    def name(self) -> str:
        """Its name, also in Raft."""
        return self.server.name

    @property
    def status(self) -> int | None:
        """What `sys/health` says; None when nobody answers."""
        return health_status(self.server.endpoint) if self.server.running else None


class VaultCluster:
    """Three nodes, opened by one key share; the root token stays in memory.

    make: makes a node's server. wire: what clients speak through; negative controls put a liar there.
    """

    def __init__(
        self, owner: Owner, *, name: str = "bao", make: Callable[..., EmbeddedOpenBao] = EmbeddedOpenBao
    ) -> None:
        self._tls = make_certificate(owner, owner.directory(f"{name}-tls", read_only=True))
        self._share = ""
        self._root = ""
        self.runs = 0
        self.owner = owner
        self.wire: Wire = lambda endpoint: endpoint
        ports = [PortClaim() for _ in range(SIZE)]
        self.nodes: list[VaultNode] = []
        for number, port in enumerate(ports):
            server = make(
                owner,
                name=f"{name}{number}",
                tls=self._tls,
                audit=False,
                adjust=partial(_adjust, port),
            )
            self.nodes.append(VaultNode(server, port))

    def start(self) -> None:
        """Start the three, initialise the first, let the others join. Raises ProvisionError, DeadlineError."""
        with ThreadPoolExecutor(SIZE) as pool:
            for done in [pool.submit(node.server.start) for node in self.nodes]:
                done.result()
        first = self.nodes[0]
        with opened(first.server.endpoint) as client:
            keys = initialise(client)
            self._share, self._root = keys.shares[0], keys.root
        self.unseal(first)
        self.await_status(first, ACTIVE)
        with opened(first.server.endpoint, self._root) as client:
            # A node may vote after 10 s by default; here it may at once.
            client.adapter.post(f"{AUTOPILOT}/configuration", json={"server_stabilization_time": "100ms"})
        for node in self.nodes[1:]:
            self._join(node)
            self.unseal(node)
        for node in self.nodes[1:]:
            self.await_status(node, STANDBY)
        self._await_voters()
        with opened(first.server.endpoint, self._root) as client:
            client.sys.enable_secrets_engine("kv", path=MOUNT, options={"version": "1"})

    def client(self, node: VaultNode) -> hvac.Client:
        """Return a client of a node, through the wire."""
        return self.wire(node.server.endpoint).client(self._root)

    def leader(self) -> VaultNode:
        """Return the node that says that it is active, when there is one. Raises DeadlineError."""
        found = wait_for(self._active, what="a node is the leader", deadline_s=SETTLE_S)
        return found[0]

    def leaders(self) -> tuple[str, ...]:
        """Return the names of the nodes that say that they are active."""
        return tuple(node.name for node in self._active())

    def unseal(self, node: VaultNode) -> None:
        """Give a node the key share."""

        def given() -> bool:
            with opened(node.server.endpoint) as client:
                client.sys.submit_unseal_key(self._share)
            return True

        wait_for(given, what=f"{node.name} takes the key share", deadline_s=SETTLE_S, transient=CLIENT_ERRORS)

    def bring_back(self, *nodes: VaultNode) -> None:
        """Start killed nodes again and return when the cluster has a leader and they are part of it."""
        with ThreadPoolExecutor(SIZE) as pool:
            for done in [pool.submit(node.server.start) for node in nodes]:
                done.result()
        for node in nodes:
            self.unseal(node)
        for node in self.nodes:
            self.await_status(node, ACTIVE, STANDBY)
        self.leader()

    def await_status(self, node: VaultNode, *wanted: int) -> None:
        """Wait until `sys/health` of a node says one of these."""
        wait_for(
            lambda: node.status in wanted,
            what=f"sys/health of {node.name} says {' or '.join(map(str, wanted))}",
            deadline_s=SETTLE_S,
            on_timeout=lambda: node.server.logs()[-2000:],
        )

    def stop(self) -> None:
        """Kill all of them and give the ports back."""
        for node in self.nodes:
            node.server.kill()
            node.port.release()

    def _active(self) -> list[VaultNode]:
        return [node for node in self.nodes if node.status == ACTIVE]

    def _await_voters(self) -> None:
        def all_vote() -> bool:
            with opened(self.nodes[0].server.endpoint, self._root) as client:
                answer = client.adapter.get("/v1/sys/storage/raft/configuration")
            return sum(bool(one["voter"]) for one in answer["data"]["config"]["servers"]) == SIZE

        wait_for(all_vote, what="all nodes may vote", deadline_s=SETTLE_S, transient=CLIENT_ERRORS)

    def _join(self, node: VaultNode) -> None:
        words = {
            **self.nodes[0].server.peer_words,
            "leader_ca_cert": self._tls.ca.read_text(encoding="ascii"),
        }

        def joined() -> bool:
            with opened(node.server.endpoint) as client:
                client.adapter.post("/v1/sys/storage/raft/join", json=words)
            return node.status == SEALED

        wait_for(
            joined,
            what=f"{node.name} has joined",
            deadline_s=SETTLE_S,
            transient=CLIENT_ERRORS,
            on_timeout=lambda: node.server.logs()[-2000:],
        )


def _adjust(port: PortClaim, configuration: dict[str, Any]) -> None:
    listener = configuration["listener"][-1]["tcp"]
    listener["cluster_address"] = port.address
    configuration["api_addr"] = f"https://{listener['address']}"
    configuration["cluster_addr"] = f"https://{port.address}"
    # Every 2 s and 10 s by default: how soon a node that joined may vote.
    intervals = {"autopilot_update_interval": "200ms", "autopilot_reconcile_interval": "200ms"}
    configuration["storage"]["raft"] |= intervals
