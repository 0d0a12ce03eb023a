"""F145 to F149: tokens, logins and wrappings that outlive their time, their parent or their one use."""

from typing import Any

import hvac

from smos.faults.registry import caught, fault
from smos.faults.vault.wire import Message, Reply
from smos.faults.vault.work import VaultWork
from smos.vault.bootstrap import TOKEN_TTL
from smos.vault.model import APPROLE_MOUNT

CHECK = "VAULT-07"
MONTH = "768h"
AS_IT_WAS = {"token_ttl": TOKEN_TTL, "token_max_ttl": TOKEN_TTL, "token_type": "batch", "token_period": 0}


def role(work: VaultWork, name: str, **settings: Any) -> None:
    """Change a role, and put it back when the case has ended."""

    def put(root: hvac.Client, what: dict[str, Any]) -> None:
        root.adapter.post(f"/v1/auth/{APPROLE_MOUNT}/role/{name}", json=what)

    work.afterwards(lambda root: put(root, AS_IT_WAS))
    work.with_root(lambda root: put(root, settings))


@fault("F145a", "A role's token lives for a month", "role", caught(CHECK, "token-role-ttl", "ci"))
def lives_long(work: VaultWork) -> None:
    """Raise the time to live."""
    work.look_at("roles")
    role(work, "ci", token_ttl=MONTH, token_max_ttl=MONTH, token_type="batch")  # noqa: S106  (a kind)


@fault("F145b", "A role's token can be renewed for ever", "role", caught(CHECK, "token-role-ttl", "admin"))
def renewed(work: VaultWork) -> None:
    """Make its tokens renewable without an end."""
    work.look_at("roles")
    settings = {"token_type": "service", "token_ttl": TOKEN_TTL, "token_max_ttl": 0, "token_period": 0}
    role(work, "admin", **settings)


def drop(work: VaultWork, word: str) -> None:
    """Lose a setting on the way."""
    work.requests(lambda message: message.body.pop(word, None))


@fault("F146a", "A token works after its time", "token", caught(CHECK, "token-outlives", "ttl 1s"))
def outlives(work: VaultWork) -> None:
    """Make an hour of a second."""
    work.look_at("ends")

    def change(message: Message) -> None:
        if message.body.get("ttl") == "1s":
            message.body["ttl"] = "1h"

    work.requests(change)


@fault(
    "F146b",
    "A token can be renewed beyond its longest life",
    "token",
    caught(CHECK, "token-outlives", "renewed"),
)
def renewed_beyond(work: VaultWork) -> None:
    """Drop the longest life."""
    work.look_at("chain")
    drop(work, "explicit_max_ttl")


@fault("F146c", "Children outlive their parent", "token", caught(CHECK, "token-survives", "its parent"))
def children_survive(work: VaultWork) -> None:
    """Make orphans of all."""
    work.look_at("chain")

    def change(message: Message) -> None:
        if message.path == "auth/token/create":
            message.path = "auth/token/create-orphan"

    work.requests(change)


@fault("F146d", "A revoked token works", "token", caught(CHECK, "token-survives", "revoked token"))
def revocation_ignored(work: VaultWork) -> None:
    """Say yes to the revocation of a parent and do nothing."""
    work.look_at("chain")
    kept: list[str] = []

    def answer(message: Message) -> Reply | None:
        if message.path == "auth/token/revoke" and not kept:
            kept.append("once")
            return Reply(200, {})
        return None

    work.instead(answer)


@fault(
    "F146e",
    "An orphan dies with the token that made it",
    "token",
    caught(CHECK, "token-orphan-dies", "orphan"),
)
def orphan_dies(work: VaultWork) -> None:
    """Make a child where an orphan was asked for."""
    work.look_at("chain")

    def change(message: Message) -> None:
        if message.path == "auth/token/create-orphan":
            message.path = "auth/token/create"

    work.requests(change)


@fault("F146f", "A token for one use works twice", "token", caught(CHECK, "token-reused", "twice"))
def used_twice(work: VaultWork) -> None:
    """Drop the number of uses."""
    work.look_at("chain")
    drop(work, "num_uses")


@fault("F147a", "A secret_id for one login works twice", "approle", caught(CHECK, "approle-reused", "twice"))
def secret_id_unlimited(work: VaultWork) -> None:
    """Drop the number of uses."""
    work.look_at("approle")
    drop(work, "secret_id_num_uses")


@fault("F147b", "Any secret_id opens a role", "approle", caught(CHECK, "approle-foreign", "another"))
def secret_id_any(work: VaultWork) -> None:
    """Let every login succeed."""
    work.look_at("approle")

    def change(message: Message, reply: Reply) -> Reply | None:
        if message.path.endswith("-approle/login") and reply.status == 400:
            return Reply(200, {"auth": {"client_token": "b.none"}})
        return None

    work.replies(change)


@fault("F148a", "A wrapping opens twice", "wrapping", caught(CHECK, "wrap-reused", "twice"))
def wrapping_twice(work: VaultWork) -> None:
    """Give what was unwrapped once more."""
    work.look_at("wrapping")
    seen: list[dict[str, Any]] = []

    def change(message: Message, reply: Reply) -> Reply | None:
        if message.path != "sys/wrapping/unwrap":
            return None
        if reply.status == 200:
            seen.append(reply.body)
        return Reply(200, seen[0]) if seen else None

    work.replies(change)


@fault("F148b", "A wrapping lives longer than asked for", "wrapping", caught(CHECK, "wrap-ttl", "90 s"))
def wrapping_lives(work: VaultWork) -> None:
    """Make an hour of 90 seconds."""
    work.look_at("wrapping")

    def change(message: Message) -> None:
        if message.headers.get("X-Vault-Wrap-TTL") == "90s":
            message.headers["X-Vault-Wrap-TTL"] = "3600s"

    work.requests(change)


@fault("F148c", "A wrapping shows what it wraps", "wrapping", caught(CHECK, "wrap-shows", "shows"))
def wrapping_shows(work: VaultWork) -> None:
    """Put the content beside the wrapping."""
    work.look_at("wrapping")

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/wrapping/wrap":
            reply.body["data"] = message.body

    work.replies(change)


@fault("F148d", "A wrapping opens after its time", "wrapping", caught(CHECK, "wrap-outlives", "ttl 1s"))
def wrapping_outlives(work: VaultWork) -> None:
    """Make an hour of a second."""
    work.look_at("ends")

    def change(message: Message) -> None:
        if message.headers.get("X-Vault-Wrap-TTL") == "1s":
            message.headers["X-Vault-Wrap-TTL"] = "3600s"

    work.requests(change)


@fault("F149", "A wrapping token may do more than unwrap", "wrapping", caught(CHECK, "wrap-powerful", "more"))
def wrapping_powerful(work: VaultWork) -> None:
    """Answer its other requests."""
    work.look_at("wrapping")
    wrappings: list[str] = []

    def change(message: Message, reply: Reply) -> Reply | None:
        if message.path == "sys/wrapping/wrap":
            wrappings.append(reply.body["wrap_info"]["token"])
        if message.path == "auth/token/lookup-self" and message.headers.get("X-Vault-Token") in wrappings:
            return Reply(200, {"data": {}})
        return None

    work.replies(change)


@fault("F145c", "A role logs in with the policy root", "role", caught(CHECK, "token-role-root", "ci"))
def role_is_root(work: VaultWork) -> None:
    """Show the policy root among those of every token (a real server gives it to no role)."""
    work.look_at("roles")

    def change(message: Message, reply: Reply) -> None:
        if message.path == "auth/token/lookup-self" and "data" in reply.body:
            reply.body["data"]["policies"].append("root")

    work.replies(change)


@fault("F146g", "A new token is refused", "token", caught(CHECK, "token-refused", "new token"))
def refused(work: VaultWork) -> None:
    """Refuse whoever asks about itself."""
    work.look_at("chain")

    def answer(message: Message) -> Reply | None:
        if message.path == "auth/token/lookup-self":
            return Reply(403, {"errors": ["permission denied"]})
        return None

    work.instead(answer)


@fault("F147c", "A fresh credential is refused", "approle", caught(CHECK, "approle-refused", "fresh"))
def login_refused(work: VaultWork) -> None:
    """Refuse every login to the scratch mount."""
    work.look_at("approle")
    work.instead(
        lambda message: (
            Reply(400, {"errors": ["invalid secret id"]}) if message.path.endswith("-approle/login") else None
        )
    )


@fault("F148e", "What was wrapped does not come back", "wrapping", caught(CHECK, "wrap-lost", "come back"))
def wrapping_lost(work: VaultWork) -> None:
    """Give something else."""
    work.look_at("wrapping")

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/wrapping/unwrap" and "data" in reply.body:
            reply.body["data"] = {"other": "content"}

    work.replies(change)


@fault("F147e", "A role needs no secret_id", "approle", caught(CHECK, "approle-no-secret", "ci"))
def no_secret(work: VaultWork) -> None:
    """Let the role_id be enough (a role that is bound to addresses may do that; ours sits on a socket without one)."""
    work.look_at("roles")

    def answer(message: Message) -> Reply | None:
        if message.path.endswith(f"{APPROLE_MOUNT}/login") and "secret_id" not in message.body:
            return Reply(200, {"auth": {"client_token": "b.nobody"}})
        return None

    work.instead(answer)
