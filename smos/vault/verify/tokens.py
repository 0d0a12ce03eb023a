"""VAULT-07: how tokens end, and what is used once."""

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import hvac

from smos.errors import DeadlineError
from smos.vault.escrow import AppRoleCredential
from smos.vault.model import APPROLE_MOUNT, VaultError, opened, status_of
from smos.vault.verify.api import Api
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.notes import Notes
from smos.vault.verify.probe import Probe, ProbeFacts, ask
from smos.wait import wait_for

ROLES = ("role-token-ttl", "role-token-policies", "role-id-alone")
CHAIN = (
    "token-works",
    "token-longest-life",
    "token-uses",
    "revoked",
    "child-dies",
    "grandchild-dies",
    "orphan-survives",
    "token-expires",
)
APPROLE = ("login", "login-again", "secret-id-foreign", "secret-id-guessed")
WRAPPING = ("wrap-ttl", "wrap-hides", "wrap-powerless", "unwrap", "unwrap-again", "wrap-expires")
SHORT, SHORT_S = "1s", 1
EXPIRY_S = 60.0
"""Seconds within which a token of one second must have ended: the server looks at leases as they are used, a busy one
late."""
WRAP_TTL_S = 90
POLICY = "default"
STRONG = frozenset({"root"})


def observe(lab: VaultLab) -> ProbeFacts:
    """Log in as every role; make tokens, logins and wrappings of our own and see them end."""
    notes = Notes()
    if lab.goes("roles"):
        with notes.part(ROLES):
            _roles(notes, lab)
    if not any(map(lab.goes, ("chain", "wrapping", "approle", "ends"))):
        return notes.facts()
    with (
        notes.part((*CHAIN, *WRAPPING, *APPROLE)),
        lab.scratch(approle=True) as mounts,
        lab.operator() as client,
    ):
        api = Api(client)
        # They end while everything else is tried.
        short = (_brief_token(api), _brief_wrapping(api)) if lab.goes("ends") else None
        if lab.goes("chain"):
            with notes.part(CHAIN[:-1]):
                _chain(notes, lab, api)
        if lab.goes("wrapping"):
            with notes.part(WRAPPING[:-1]):
                _wrapping(notes, lab, api)
        if lab.goes("approle"):
            with notes.part(APPROLE):
                _approle(notes, lab, api, mounts.approle)
        if short is not None:
            _ends(notes, lab, api, *short)
    return notes.facts()


def _brief_token(api: Api) -> str:
    return str(api.post("auth/token/create", policies=[POLICY], ttl=SHORT)["auth"]["client_token"])


def _brief_wrapping(api: Api) -> str:
    answer = api.post("sys/wrapping/wrap", headers={"X-Vault-Wrap-TTL": SHORT}, note="nothing")
    return str(answer["wrap_info"]["token"])


def _roles(notes: Notes, lab: VaultLab) -> None:
    limit_s = lab.subject.token_ttl_s
    found = {}
    for name in sorted(lab.subject.credentials):
        try:
            with lab.as_role(name) as client:
                token = client.auth.token.lookup_self()["data"]
                longest_s = _longest(client, token, limit_s)
        except VaultError as error:
            notes.probes.append(Probe(claim="role-token-ttl", seen=error.message))
            continue
        policies = sorted(token["policies"])
        found[name] = {
            "ttl_s": token["creation_ttl"],
            "renewed_s": longest_s,
            "type": token.get("type"),
            "policies": policies,
        }
        lives = f"{name}: {token['creation_ttl']} s, renewed {longest_s} s, at most {limit_s:g} s"
        short = 0 < int(token["creation_ttl"]) <= limit_s and longest_s <= limit_s and not token.get("period")
        notes.compare("role-token-ttl", short, lives)
        notes.compare("role-token-policies", not STRONG & set(policies), f"{name}: {', '.join(policies)}")
    notes.details["roles"] = found
    for name, credential in sorted(lab.subject.credentials.items()):
        notes.probes.append(_without_secret(lab, name, credential))


def _without_secret(lab: VaultLab, name: str, credential: AppRoleCredential) -> Probe:
    """Try to log in by the role_id alone, which is a name and no secret; end what should not have begun."""
    with opened(lab.endpoint) as client:
        api = Api(client)
        body = {"role_id": credential.role_id.get_secret_value()}
        status, answer, reason = ask(partial(api.post, f"auth/{APPROLE_MOUNT}/login", **body))
        if status == 200:
            client.token = str((answer.get("auth") or {}).get("client_token") or "")
            ask(partial(api.post, "auth/token/revoke-self"))  # a batch token ends by itself soon
    return Probe(claim="role-id-alone", status=status, seen=f"{name} {reason}".rstrip())


def _longest(client: hvac.Client, token: Mapping[str, Any], limit_s: float) -> int:
    """Return for how many seconds the token would live after a renewal; 0 where it can't be renewed."""
    if not token.get("renewable"):
        return 0
    answer = Api(client).post("auth/token/renew-self", increment=f"{int(limit_s) * 10}s")
    return int(answer["auth"]["lease_duration"])


def _chain(notes: Notes, lab: VaultLab, api: Api) -> None:
    def make(parent: str | None = None, kind: str = "create", **settings: Any) -> str:
        if parent is None:
            answer = api.post(f"auth/token/{kind}", **settings)
        else:
            with opened(lab.endpoint, parent) as client:
                answer = Api(client).post(f"auth/token/{kind}", **settings)
        return str(answer["auth"]["client_token"])

    works = partial(_use, lab)
    # The parent may make tokens: it has the policies of the verification itself.
    parent = make(ttl="5m")
    try:
        child = make(parent, ttl="5m")
        grandchild = make(child, policies=[POLICY], ttl="5m")
        orphan = make(parent, "create-orphan", policies=[POLICY], ttl="5m")
        try:
            notes.ask("token-works", lambda: [works(token) for token in (parent, child, grandchild, orphan)])
            api.post("auth/token/revoke", token=parent)
            notes.ask("revoked", partial(works, parent))
            notes.ask("child-dies", partial(works, child))
            notes.ask("grandchild-dies", partial(works, grandchild))
            notes.ask("orphan-survives", partial(works, orphan))
        finally:
            _gone(api, orphan)
    finally:
        _gone(api, parent)

    once = make(policies=[POLICY], ttl="5m", num_uses=1)
    works(once)
    notes.ask("token-uses", partial(works, once), what="num_uses 1, second use")
    _gone(api, once)

    def renewed() -> int:
        token = make(policies=[POLICY], ttl="60s", explicit_max_ttl="90s")
        try:
            with opened(lab.endpoint, token) as client:
                return int(
                    Api(client).post("auth/token/renew-self", increment="1h")["auth"]["lease_duration"]
                )
        finally:
            _gone(api, token)

    notes.ask("token-longest-life", renewed, lambda lease_s: 0 < lease_s <= 90)


def _use(lab: VaultLab, token: str) -> Any:
    """Use a token for the one thing that every token may do."""
    with opened(lab.endpoint, token) as client:
        return client.auth.token.lookup_self()


def _ends(notes: Notes, lab: VaultLab, api: Api, token: str, wrapping: str) -> None:
    """See a token and a wrapping of one second end."""
    notes.probes.append(_end("token-expires", partial(_use, lab, token)))
    notes.probes.append(_end("wrap-expires", partial(api.post, "sys/wrapping/lookup", token=wrapping)))
    _gone(api, token)


def _end(claim: str, use: Callable[[], Any]) -> Probe:
    """Use what lives one second until it is refused, or says itself that it lives longer, or for EXPIRY_S."""
    ttl_s = 0

    def ended() -> int:
        nonlocal ttl_s
        try:
            said = use()["data"]
        except hvac.exceptions.VaultError as error:
            return status_of(error)
        ttl_s = int(said.get("creation_ttl", 0))
        return 200 if ttl_s > SHORT_S else 0

    try:
        status = wait_for(ended, what="what lives one second has ended", deadline_s=EXPIRY_S)
    except DeadlineError:
        return Probe(claim=claim, status=200, seen=f"ttl {SHORT}, used {EXPIRY_S:g} s later")
    longer = f", and it says that it lives {ttl_s} s" if status == 200 else ""
    return Probe(claim=claim, status=status, seen=f"ttl {SHORT}{longer}")


def _gone(api: Api, token: str) -> None:
    """Revoke a token that may have ended already."""
    try:
        api.post("auth/token/revoke", token=token)
    except hvac.exceptions.VaultError as error:
        if status_of(error) not in {400, 403, 404}:
            raise


def _approle(notes: Notes, lab: VaultLab, api: Api, mount: str) -> None:
    settings = {
        "token_policies": [POLICY],
        "token_ttl": "60s",
        "token_type": "batch",
        "secret_id_num_uses": 1,
    }
    ids = {}
    for name in ("once", "other"):
        api.post(f"auth/{mount}/role/{name}", **settings)
        ids[name] = api.get(f"auth/{mount}/role/{name}/role-id")["data"]["role_id"]

    def secret_id(name: str) -> str:
        return str(api.post(f"auth/{mount}/role/{name}/secret-id")["data"]["secret_id"])

    def enter(name: str, secret: str) -> Any:
        with opened(lab.endpoint) as client:
            return Api(client).post(f"auth/{mount}/login", role_id=ids[name], secret_id=secret)

    mine, foreign = secret_id("once"), secret_id("other")
    if notes.ask("login", partial(enter, "once", mine), lambda answer: bool(answer["auth"]["client_token"])):
        notes.ask("login-again", partial(enter, "once", mine), what="secret_id_num_uses 1, second login")
    notes.ask("secret-id-foreign", partial(enter, "once", foreign))
    notes.ask("secret-id-guessed", partial(enter, "once", secrets.token_hex(16)))


def _wrapping(notes: Notes, lab: VaultLab, api: Api) -> None:
    canary = secrets.token_hex(16)

    def wrap(ttl_s: int) -> dict[str, Any]:
        answer: dict[str, Any] = api.post(
            "sys/wrapping/wrap", headers={"X-Vault-Wrap-TTL": f"{ttl_s}s"}, canary=canary
        )
        return answer

    def unwrap(token: str) -> Any:
        with opened(lab.endpoint, token) as client:
            return Api(client).post("sys/wrapping/unwrap")

    answer = wrap(WRAP_TTL_S)
    info = answer["wrap_info"]
    token = str(info["token"])
    notes.compare("wrap-hides", canary not in str(answer) and not answer.get("data"))
    notes.ask(
        "wrap-ttl",
        partial(api.post, "sys/wrapping/lookup", token=token),
        lambda seen: int(seen["data"]["creation_ttl"]) == WRAP_TTL_S == int(info["ttl"]),
        what=f"{WRAP_TTL_S} s asked",
    )

    another = str(wrap(WRAP_TTL_S)["wrap_info"]["token"])  # a refused request uses a token up as well

    def elsewhere() -> Any:
        with opened(lab.endpoint, another) as client:
            return Api(client).get("auth/token/lookup-self")

    notes.ask("wrap-powerless", elsewhere)

    if notes.ask("unwrap", partial(unwrap, token), lambda seen: seen["data"] == {"canary": canary}):
        notes.ask("unwrap-again", partial(unwrap, token))
