"""F470 to F476: a Vault cluster that forgets, lies, or acknowledges what no quorum has. The wire lies for it."""

from smos.failover.ledger import PROBE, STRAY
from smos.failover.vaultcluster import MOUNT
from smos.faults.failover.work import FailoverWork
from smos.faults.registry import caught, fault
from smos.faults.vault.wire import Meddler, Message, Reply
from smos.verdict import Verdict

LEADER, QUORUM = "FAILOVER-07", "FAILOVER-08"
DONE = Reply(200, {"data": {}})


def _client(message: Message) -> int:
    """Return which client writes or reads; -1 for other requests."""
    name = message.path.removeprefix(f"{MOUNT}/").split("-")
    return int(name[1]) if message.path.startswith(f"{MOUNT}/") and len(name) == 3 else -1


@fault(
    "F470",
    "A write is acknowledged by one node alone, and lost with it",
    "leader",
    caught(LEADER, "vault-acknowledged-lost"),
)
def alone(work: FailoverWork) -> None:
    """Acknowledge every third write of a client without passing it on."""

    def answer(message: Message) -> Reply | None:
        swallowed = (
            message.method == "PUT" and _client(message) == PROBE + 1 and int(message.path[-1]) % 3 == 0
        )
        return DONE if swallowed else None

    work.meddle(Meddler(instead=answer))


@fault("F471", "No new leader takes writes", "leader", caught(LEADER, "vault-no-leader"))
def no_leader(work: FailoverWork) -> None:
    """Refuse every write after the loss."""

    def answer(message: Message) -> Reply | None:
        refused = message.method == "PUT" and _client(message) == PROBE
        return Reply(503, {"errors": ["Vault is sealed"]}) if refused else None

    work.first_write_s = 0.5
    work.meddle(Meddler(instead=answer))


@fault(
    "F472", "A secret is another one after the change of leaders", "leader", caught(LEADER, "vault-altered")
)
def another(work: FailoverWork) -> None:
    """Give another value back."""

    def change(message: Message, reply: Reply) -> None:
        if message.method == "GET" and _client(message) == PROBE + 2:
            reply.body["data"]["token"] = "0" * 16

    work.meddle(Meddler(reply=change))


@fault(
    "F473", "The election takes longer than the objective", "objective", caught(LEADER, "vault-rto-exceeded")
)
def slow(work: FailoverWork) -> None:
    """Allow no time."""
    work.expect(rto_hours=1e-9)


@fault(
    "F474",
    "The leader was not killed",
    "leader",
    caught(LEADER, "leader-not-lost", "still leads", verdict=Verdict.NOT_PROVEN),
)
def not_killed(work: FailoverWork) -> None:
    """Leave it alone: the others pass every write on to it."""
    work.lose_leader = lambda _node: None


@fault(
    "F475",
    "A node without a quorum acknowledges writes",
    "quorum",
    caught(QUORUM, "acknowledged-without-quorum", "two of three"),
)
def without_quorum(work: FailoverWork) -> None:
    """Say yes to what is written when the others are gone."""
    work.meddle(
        Meddler(
            instead=lambda message: DONE if message.method == "PUT" and _client(message) == STRAY else None
        )
    )


@fault(
    "F476",
    "A write is gone when the nodes are back",
    "quorum",
    caught(QUORUM, "vault-acknowledged-lost", "1/5"),
)
def gone(work: FailoverWork) -> None:
    """List one secret less."""

    def change(message: Message, reply: Reply) -> None:
        if message.method == "LIST":
            data = reply.body["data"]
            data["keys"] = [key for key in data["keys"] if not key.endswith(f"-{PROBE + 1}-5")]

    work.meddle(Meddler(reply=change))
