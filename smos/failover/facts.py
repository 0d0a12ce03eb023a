"""What a failover drill records: facts only. smos/checks/failover judges them.

Times in seconds, on the monotonic clock where they are points in time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """How a commit waits for standbys before it is acknowledged."""

    ASYNCHRONOUS = "asynchronous"
    SYNCHRONOUS = "synchronous"
    QUORUM = "quorum"


class Disaster(StrEnum):
    """What befalls the primary.

    KILL: SIGKILL of the postmaster and all its children. STOP: it is shut down (a container as by `docker stop`).
    FREEZE: all of them are frozen. CUT: its network is a black hole, while it lives on. LAG: replication is cut first,
    somebody beside the server goes on writing, then KILL.
    """

    KILL = "kill"
    STOP = "stop"
    FREEZE = "freeze"
    CUT = "cut"
    LAG = "lag"


EMBEDDED_KINDS = (Disaster.KILL, Disaster.FREEZE, Disaster.CUT)
CONTAINER_KINDS = (Disaster.KILL, Disaster.STOP, Disaster.CUT, Disaster.FREEZE)
"""What befalls a primary by turns, as a process of this machine and as a container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durability:
    """What commits waited for while the load ran, as the servers and the client's own session said it.

    synchronous_commit: in the client's session. overrides: settings of roles and databases that touch it.
    names: `synchronous_standby_names` of the primary. states: sync_state of each standby that streamed.
    unsafe: node to settings that make its disk forget (fsync, full_page_writes).
    """

    synchronous_commit: str
    names: str
    states: tuple[tuple[str, str], ...]
    overrides: tuple[str, ...] = ()
    unsafe: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The client's ledger held against the rows of the new primary; numbers of commits.

    attempted = acknowledged + refused + unknown. unknown: the connection broke before the answer, or the server
    warned that it might not be replicated; unknown_present: those that are there all the same. lost: acknowledged and
    not there. lost_after_cut, acknowledged_after_cut: of those, what was written after replication had been cut.
    acknowledged_before: of the load's commits, those acknowledged before the disaster. holes: lost commits although one
    that began later is there, which no replication lag explains.
    strangers: rows that nobody attempted, or that were refused. duplicates: surplus rows. altered: rows with another
    content. disordered: rows that stand before one that the same client wrote earlier. examples: `client/n` of some.
    """

    attempted: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    unknown_present: int = 0
    lost: int = 0
    acknowledged_before: int = 0
    acknowledged_after_cut: int = 0
    lost_after_cut: int = 0
    holes: int = 0
    strangers: int = 0
    duplicates: int = 0
    altered: int = 0
    disordered: int = 0
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Outcome(StrEnum):
    """What became of one attempt to write."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    WAITS = "waits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to write after the promotion. through: which way. node: who took it, "" for nobody."""

    through: str
    outcome: Outcome
    node: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What the old primary does when it is back after the promotion.

    fenced_before_promotion: whether the order was right. attempts: writes to the old one, by every way there is, and
    through the service. running: whether it could be brought back at all.
    """

    fenced_before_promotion: bool
    attempts: tuple[Attempt, ...]
    running: bool
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejoin:
    """How the old primary became a standby of the new one.

    rewound: pg_rewind ended well. needed: it had something to rewind. follows: in recovery, streaming from the new
    primary. diverged: it holds what the new primary never wrote. digests: node to a hash of every row, in order.
    """

    rewound: bool
    needed: bool
    follows: bool
    diverged: bool
    digests: Mapping[str, str]
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """One failover. rto_s: declared until the first acknowledged write on the new primary; None: there was none.

    rpo_s: declared minus the newest acknowledged commit that survived, 0 when none was lost. phases: seconds of
    fence, choose, promote, write. latencies: seconds of every acknowledged commit before the disaster.
    detection is excluded: the drill declares the disaster itself. behind: a standby that was off the stream and lacked
    acknowledged commits when the disaster came, "" for none. befell: what the system said of the primary's process, or
    of its network's, right after the disaster (see smos/failover/strike.py), "" when nobody looked. writing: clients of
    the load that still wrote when it came.
    """

    number: int
    mode: Mode
    disaster: Disaster
    old: str
    new: str
    rto_s: float | None
    rpo_s: float
    phases: Mapping[str, float]
    latencies: tuple[float, ...]
    durability: Durability
    tally: Tally
    timeline_before: int
    timeline_after: int | None
    returned: Return | None = None
    rejoin: Rejoin | None = None
    error: str = ""
    behind: str = ""
    befell: str = ""
    writing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Whether a commit is acknowledged while one standby is frozen: the price in availability."""

    mode: Mode
    frozen: str
    acknowledged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """All failovers of one run. version: of PostgreSQL. load: clients that wrote at once.

    kinds: what was to befall a primary by turns.
    """

    version: str
    load: int
    failovers: tuple[Failover, ...]
    stalls: tuple[Stall, ...] = ()
    kinds: tuple[Disaster, ...] = ()

    def of(self, mode: Mode) -> tuple[Failover, ...]:
        """Return the failovers of a mode."""
        return tuple(item for item in self.failovers if item.mode is mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderLoss:
    """A Vault cluster lost its leader under load. rto_s: killed until the first acknowledged write.

    leaders: nodes that call themselves the leader afterwards. gone: nobody answered at the old one after it was killed.
    """

    rto_s: float | None
    tally: Tally
    leaders: tuple[str, ...]
    old: str
    new: str
    rejoined: bool
    error: str = ""
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumLoss:
    """Two of three Vault nodes were killed: what became of writes, and of everything once they were back.

    gone: how many of them answered nobody while the writes were tried.
    """

    attempts: tuple[Attempt, ...]
    recovered: bool
    tally: Tally
    error: str = ""
    gone: int = 0


Json = dict[str, Any]
