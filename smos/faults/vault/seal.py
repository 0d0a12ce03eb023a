"""F160 to F169: seals that open too early, serve all the same, or lie about their state."""

from collections.abc import Callable

from smos.faults.registry import caught, fault
from smos.faults.vault.servers import another_subject, fronted, without_pair
from smos.faults.vault.wire import Meddler, Message, Reply
from smos.faults.vault.work import VaultWork

CHECK, SERVER = "VAULT-09", "seal"


def _before(work: VaultWork, meddler: Meddler) -> None:
    fronted(work, meddler, only=SERVER)
    without_pair(work)


def _replies(work: VaultWork, change: Callable[[Message, Reply], Reply | None]) -> None:
    _before(work, Meddler(reply=change))


@fault("F160", "Two shares open what three should", "seal", caught(CHECK, "seal-opened-below-threshold"))
def low_threshold(work: VaultWork) -> None:
    """Initialise with a lower threshold."""

    def change(message: Message) -> None:
        if "secret_threshold" in message.body:
            message.body["secret_threshold"] = 2

    _before(work, Meddler(request=change))


@fault("F161a", "Health says 200 whatever the state", "seal", caught(CHECK, "seal-health-wrong", "501"))
def always_healthy(work: VaultWork) -> None:
    """Let a proxy answer for Vault."""
    _replies(work, lambda message, reply: Reply(200, reply.body) if message.path == "sys/health" else None)


@fault("F161b", "Health calls a standby active", "seal", caught(CHECK, "seal-health-wrong", "a standby"))
def standby_active(work: VaultWork) -> None:
    """Let a proxy hide the second node's state."""

    def change(message: Message, reply: Reply) -> Reply | None:
        return Reply(200, reply.body) if message.path == "sys/health" and reply.status == 429 else None

    fronted(work, Meddler(reply=change), only="pair-1")


@fault("F162", "A wrong share is taken", "seal", caught(CHECK, "seal-wrong-share-taken"))
def wrong_share(work: VaultWork) -> None:
    """Say yes to a share that was refused."""

    def change(message: Message, reply: Reply) -> Reply | None:
        refused = message.path == "sys/unseal" and reply.status == 400
        return Reply(200, {"sealed": False, "progress": 0}) if refused else None

    _replies(work, change)


@fault("F163", "A sealed Vault serves from a cache", "seal", caught(CHECK, "seal-serves-sealed", "reads"))
def serves_sealed(work: VaultWork) -> None:
    """Answer reads although it is sealed."""

    def change(message: Message, reply: Reply) -> Reply | None:
        cached = message.path.startswith("cubbyhole/") and message.method == "GET" and reply.status == 503
        return Reply(200, {"data": {"value": "cached"}}) if cached else None

    _replies(work, change)


@fault("F164", "Sealing does nothing", "seal", caught(CHECK, "seal-serves-sealed", "writes"))
def does_not_seal(work: VaultWork) -> None:
    """Say yes and stay open."""
    _before(work, Meddler(instead=lambda message: Reply(204, {}) if message.path == "sys/seal" else None))


@fault("F165a", "Progress counts a share twice", "seal", caught(CHECK, "seal-progress-wrong", "[2, 2, 3]"))
def wrong_progress(work: VaultWork) -> None:
    """Count one more than there are."""

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/unseal" and reply.body.get("progress"):
            reply.body["progress"] += 1

    _replies(work, change)


@fault("F165b", "Attempts share one nonce", "seal", caught(CHECK, "seal-nonce-wrong", "new attempt"))
def one_nonce(work: VaultWork) -> None:
    """Give every attempt the same nonce."""

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/unseal" and "nonce" in reply.body:
            reply.body["nonce"] = "always-the-same"

    _replies(work, change)


@fault("F166", "The verified Vault is sealed", "seal", caught(CHECK, "seal-not-active"))
def sealed_subject(work: VaultWork) -> None:
    """Seal another Vault and verify that."""
    another_subject(work, sealed=True)
    without_pair(work)


@fault("F167", "A secret is gone after unsealing", "seal", caught(CHECK, "seal-lost-data"))
def lost(work: VaultWork) -> None:
    """Find nothing where there was something."""

    def change(message: Message, reply: Reply) -> Reply | None:
        found = message.path.startswith("cubbyhole/") and message.method == "GET" and reply.status == 200
        return Reply(404, {"errors": []}) if found else None

    _replies(work, change)


@fault("F168", "A threshold of shares opens nothing", "seal", caught(CHECK, "seal-stays-sealed"))
def stays_sealed(work: VaultWork) -> None:
    """Say that it is sealed, whatever it was given."""

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/unseal" and "sealed" in reply.body:
            reply.body["sealed"] = True

    _replies(work, change)


@fault("F169", "Vault refuses to be sealed", "seal", caught(CHECK, "seal-not-sealed"))
def can_not_be_sealed(work: VaultWork) -> None:
    """Refuse it."""

    def answer(message: Message) -> Reply | None:
        return Reply(400, {"errors": ["no"]}) if message.path == "sys/seal" else None

    _before(work, Meddler(instead=answer))


@fault("F160b", "One share opens the verified Vault", "seal", caught(CHECK, "seal-threshold-one", "1 of 1"))
def one_share(work: VaultWork) -> None:
    """Let the check look at a Vault that was initialised with a single share."""
    another_subject(work)
    without_pair(work)
