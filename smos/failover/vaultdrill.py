"""A Vault cluster loses its leader under load, and then its quorum: the client's ledger says what became of writes."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import requests

from smos.errors import DeadlineError, SmosError
from smos.failover.facts import Attempt, LeaderLoss, Outcome, QuorumLoss, Tally
from smos.failover.ledger import PROBE, STRAY, Journal, Ledger, Row, tally
from smos.failover.vaultcluster import MOUNT, VaultCluster, VaultNode
from smos.vault.model import CLIENT_ERRORS
from smos.vault.verify.bare import health_status
from smos.vault.verify.probe import ask
from smos.wait import wait_for

CLIENTS = 2
WRITES_EACH = 40
ATTEMPTS = 3
"""Writes that are tried without a quorum."""
REQUEST_S = 20.0
"""Seconds for one write; without a leader it is refused sooner."""
LOAD_S = 120.0
FIRST_WRITE_S = 120.0


class _Writer:
    """Writes one secret after the other through one node until a write fails or it is told to stop."""

    def __init__(self, cluster: VaultCluster, node: VaultNode, ledger: Ledger, run: int, client: int) -> None:
        self.acknowledged = 0
        self.ended = ""
        self._cluster, self._node, self._ledger = cluster, node, ledger
        self._run_number, self._client = run, client
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def stop(self) -> None:
        self._stop.set()
        self.thread.join(REQUEST_S * 2)

    def _run(self) -> None:
        with self._ledger.journal(self._client) as journal:
            n = 0
            while not self._stop.is_set():
                n += 1
                status, reason = _write(self._cluster, self._node, journal, self._run_number, n)
                if status != 200:
                    self.ended = reason
                    return
                self.acknowledged += 1


def kill(node: VaultNode) -> None:
    """Kill a node."""
    node.server.kill()


def lose_leader(
    cluster: VaultCluster,
    first_write_s: float = FIRST_WRITE_S,
    strike: Callable[[VaultNode], None] = kill,
) -> LeaderLoss:
    """Kill the leader under load; return what was seen once the node is back. Raises SmosError.

    strike: what befalls the leader; a negative control leaves it out.
    """
    run, ledger = _begin(cluster)
    old = cluster.leader()
    writers = [_Writer(cluster, old, ledger, run, PROBE + 1 + number) for number in range(CLIENTS)]
    rto: float | None = None
    error = ""
    try:
        for writer in writers:
            writer.thread.start()
        _await_load(writers)
        declared = time.monotonic()
        strike(old)
        gone = not answers(old)
        try:
            rto = _first_write(cluster, old, ledger, run, first_write_s) - declared
        except DeadlineError as problem:
            error = problem.message
    finally:
        for writer in writers:
            writer.stop()
    leaders = cluster.leaders()
    counted = _audit(cluster, ledger, run) if rto is not None else Tally()
    cluster.bring_back(old)
    return LeaderLoss(
        rto_s=rto,
        tally=counted,
        leaders=leaders,
        old=old.name,
        new=leaders[0] if leaders else "",
        rejoined=old.status in {200, 429},
        error=error,
        gone=gone,
    )


def lose_quorum(cluster: VaultCluster) -> QuorumLoss:
    """Kill both standbys and try to write; bring them back and look what is there. Raises SmosError."""
    run, ledger = _begin(cluster)
    leader = cluster.leader()
    others = [node for node in cluster.nodes if node is not leader]
    writer = _Writer(cluster, leader, ledger, run, PROBE + 1)
    try:
        writer.thread.start()
        _await_load([writer])
    finally:
        writer.stop()
    for node in others:
        kill(node)
    gone = sum(not answers(node) for node in others)
    attempts = []
    with ledger.journal(STRAY) as journal:
        for number in range(1, ATTEMPTS + 1):
            status, reason = _write(cluster, leader, journal, run, number)
            attempts.append(Attempt(through=leader.name, outcome=_outcome(status), detail=reason))
    error, recovered = "", True
    try:
        cluster.bring_back(*others)
        counted = _audit(cluster, ledger, run)
    except SmosError as problem:
        recovered, error, counted = False, problem.message, Tally()
    return QuorumLoss(attempts=tuple(attempts), recovered=recovered, tally=counted, error=error, gone=gone)


def answers(node: VaultNode) -> bool:
    """Whether somebody takes connections where a node listens: asked of the socket, not of who killed it."""
    return health_status(node.server.endpoint) is not None


def _outcome(status: int | None) -> Outcome:
    """Return what an HTTP status says of a write: for want of a quorum the server itself is in trouble (5xx)."""
    if status is None:
        return Outcome.WAITS
    if status < 300:
        return Outcome.ACCEPTED
    return Outcome.REFUSED if status >= 500 else Outcome.UNREACHABLE


def _begin(cluster: VaultCluster) -> tuple[int, Ledger]:
    cluster.runs += 1
    return cluster.runs, Ledger(cluster.owner.directory(f"vault-ledger-{cluster.runs}", read_only=True))


def _await_load(writers: list[_Writer]) -> None:
    def under_way() -> bool:
        for writer in writers:
            if not writer.thread.is_alive():
                raise SmosError(f"A client ended before the disaster: {writer.ended or 'no reason'}")
        return all(writer.acknowledged >= WRITES_EACH for writer in writers)

    wait_for(under_way, what=f"every client has {WRITES_EACH} acknowledged writes", deadline_s=LOAD_S)


def _first_write(cluster: VaultCluster, old: VaultNode, ledger: Ledger, run: int, limit_s: float) -> float:
    """Return when the first write after the disaster was acknowledged. Raises DeadlineError."""
    survivors = [node for node in cluster.nodes if node is not old]
    with ledger.journal(PROBE) as journal:
        made = 0

        def written() -> float:
            nonlocal made
            for node in survivors:
                made += 1
                if _write(cluster, node, journal, run, made)[0] == 200:
                    return time.monotonic()
            return 0.0

        return wait_for(written, what="a write is acknowledged by a new leader", deadline_s=limit_s)


def _write(
    cluster: VaultCluster, node: VaultNode, journal: Journal, run: int, n: int
) -> tuple[int | None, str]:
    """Write one secret; return the HTTP status, None where there was no answer, and the reason."""
    token = journal.attempt(n)
    path = f"/v1/{MOUNT}/{run}-{journal.client}-{n}"
    client = cluster.client(node)
    try:
        status, _, reason = ask(
            lambda: client.adapter.request("PUT", path, json={"token": token}, timeout=REQUEST_S)
        )
    finally:
        client.adapter.close()
    if status == 200:
        journal.acknowledge(n, time.monotonic())
    return status, reason


def _audit(cluster: VaultCluster, ledger: Ledger, run: int) -> Tally:
    """Hold the ledger against what the leader has."""
    rows = wait_for(
        lambda: tuple(_rows(cluster, run)),
        what="the leader lists what was written",
        deadline_s=FIRST_WRITE_S,
        transient=(*CLIENT_ERRORS, requests.RequestException),
    )
    return tally(ledger.read(), rows)


def _rows(cluster: VaultCluster, run: int) -> Iterator[Row]:
    client = cluster.client(cluster.leader())
    with contextlib.closing(client.adapter):
        keys = client.adapter.request("LIST", f"/v1/{MOUNT}/")["data"]["keys"]
        for key in sorted(keys):
            number, who, n = (int(part) for part in key.split("-"))
            if number == run:
                value = client.adapter.get(f"/v1/{MOUNT}/{key}")["data"]["token"]
                yield Row(who, n, str(value), n)
