"""F140 to F144: policies that grant too much, or nothing; a server that does not do what it says."""

import hvac

from smos.faults.registry import caught, fault
from smos.faults.vault.narrowed import SOME_PATHS
from smos.faults.vault.transit import change_policy
from smos.faults.vault.wire import Message, Reply
from smos.faults.vault.work import VaultWork
from smos.vault.model import APPROLE_MOUNT
from smos.verdict import Verdict

CHECK = "VAULT-06"
AGENTS = ("director-gemini", "writer-copilot", "executor-codex", "ci")


def only(work: VaultWork, *roles: str, paths: tuple[str, ...] = SOME_PATHS) -> None:
    """Try these roles only, and of the matrix' paths those that hold one of these words.

    A fault of one policy needs no other, and a whole matrix takes seconds. The lists of rules are read as ever.
    """
    known = work.lab.subject.credentials
    work.subject(credentials={role: known[role] for role in roles})
    work.lab = work.lab.but(paths=paths)


def add(work: VaultWork, policy: str, path: str, *capabilities: str) -> None:
    """Add a rule to a policy, and try the role of that name only."""
    only(work, policy)
    words = ", ".join(f'"{word}"' for word in capabilities)
    change_policy(work, policy, lambda text: f'{text}\npath "{path}" {{\n  capabilities = [{words}]\n}}\n')


@fault("F140a", "A policy is widened to *", "policy", caught(CHECK, "access-too-wide", "writer-copilot"))
def widened(work: VaultWork) -> None:
    """Grant everything but deletion."""
    add(work, "writer-copilot", "*", "create", "read", "update", "list")


@fault("F140b", "A tenant reads every tenant", "policy", caught(CHECK, "access-too-wide", "tenant-cl-0001"))
def tenant_reads_all(work: VaultWork) -> None:
    """Widen a tenant's path to all tenants."""
    add(work, "tenant-cl-0001", "smarteros/data/tenants/*", "read")


@fault("F140c", "A role may delete its log", "policy", caught(CHECK, "access-too-wide", "delete", "logs/ci"))
def may_delete(work: VaultWork) -> None:
    """Grant a verb too many on a path of the role's own."""
    only(work, "ci")
    change_policy(
        work,
        "ci",
        lambda text: text.replace(
            'path "smarteros/data/logs/ci/*" {\n  capabilities = [',
            'path "smarteros/data/logs/ci/*" {\n  capabilities = ["delete", ',
        ),
    )


@fault("F140d", "A glob lacks its slash", "policy", caught(CHECK, "access-too-wide", "logs/cix"))
def glob_without_slash(work: VaultWork) -> None:
    """Write `logs/ci*` for `logs/ci/*`."""
    only(work, "ci", paths=("logs/",))
    change_policy(work, "ci", lambda text: text.replace("data/logs/ci/*", "data/logs/ci*"))


@fault(
    "F140e",
    "A role may remove secrets with all their versions",
    "policy",
    caught(CHECK, "access-too-wide", "metadata/mcp/github"),
)
def may_remove(work: VaultWork) -> None:
    """Grant deletion at metadata/, which the paths of data/ say nothing about."""
    add(work, "executor-codex", "smarteros/metadata/mcp/github", "delete")


@fault(
    "F141a",
    "The policies name paths without data/ and metadata/",
    "policy",
    caught(CHECK, "access-without-data", "director-gemini", "without `data/`"),
)
def without_data(work: VaultWork) -> None:
    """Write the paths as people say them: what the platform's first policies did."""
    only(work, *AGENTS)
    for name in AGENTS:
        change_policy(
            work,
            name,
            lambda text: text.replace("smarteros/data/", "smarteros/").replace(
                "smarteros/metadata/", "smarteros/"
            ),
        )


@fault("F141b", "A role lost its policy", "policy", caught(CHECK, "access-refused", "writer-copilot"))
def policy_lost(work: VaultWork) -> None:
    """Take the policy away from the role."""
    _policies(work, "writer-copilot", [])


@fault(
    "F141c",
    "Two roles have each other's policies",
    "policy",
    caught(CHECK, "access-too-wide", "executor-codex"),
)
def swapped(work: VaultWork) -> None:
    """Mix two roles up."""
    _policies(work, "executor-codex", ["director-gemini"])


def _policies(work: VaultWork, role: str, policies: list[str]) -> None:
    def put(root: hvac.Client, names: list[str]) -> None:
        path = f"/v1/auth/{APPROLE_MOUNT}/role/{role}/policies"
        root.adapter.post(path, json={"token_policies": names})

    only(work, role, paths=("mcp/",))
    work.afterwards(lambda root: put(root, [role]))
    work.with_root(lambda root: put(root, policies))


@fault(
    "F142",
    "The server's account is not what it does",
    "server",
    caught(CHECK, "access-disagrees", "account: denied"),
)
def account_lies(work: VaultWork) -> None:
    """Let the server's account deny everything."""

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/capabilities-self" and "data" in reply.body:
            reply.body["data"] = {path: ["deny"] for path in reply.body["data"]}

    only(work, "ci")
    work.replies(change)


@fault(
    "F143",
    "A role can't log in, so nothing is known of it",
    "role",
    caught(CHECK, "access-role-silent", "ci can't log in", verdict=Verdict.NOT_PROVEN),
)
def silent(work: VaultWork) -> None:
    """Give one role the secret of another."""
    known = work.lab.subject.credentials
    wrong = known["ci"].model_copy(update={"secret_id": known["admin"].secret_id})
    work.subject(credentials={"ci": wrong})


@fault(
    "F144",
    "The server says nothing of what a role may do",
    "policy",
    caught(CHECK, "access-not-told", "ci", verdict=Verdict.NOT_PROVEN),
)
def not_told(work: VaultWork) -> None:
    """Take the right to ask out of the policy that every role has."""
    only(work, "ci")
    change_policy(
        work, "default", lambda text: text.replace("sys/capabilities-self", "sys/capabilities-nobody")
    )


@fault(
    "F140f", "A policy names a path that is nobody's", "policy", caught(CHECK, "access-unlisted", "sys/seal")
)
def seals(work: VaultWork) -> None:
    """Let the pipeline seal Vault: a path that no cell of the matrix is about."""
    add(work, "ci", "sys/seal", "update", "sudo")


@fault("F140g", "A rule with `+` opens every mount", "policy", caught(CHECK, "access-unlisted", "+/data/mcp"))
def any_mount(work: VaultWork) -> None:
    """Grant reading below every other mount: the server's list of rules leaves such rules out."""
    add(work, "writer-copilot", "+/data/mcp/other", "read")


@fault("F140h", "A role may patch a secret", "policy", caught(CHECK, "access-unlisted", "patch"))
def may_patch(work: VaultWork) -> None:
    """Grant a verb that neither reads nor writes, and changes a secret."""
    add(work, "executor-codex", "smarteros/data/mcp/github", "read", "patch")


@fault(
    "F140i", "A key of another name opens", "policy", caught(CHECK, "access-too-wide", "smarteros-secretsx")
)
def any_key(work: VaultWork) -> None:
    """Let the MCP server decrypt with every key."""
    only(work, "mcp-server", paths=("transit/",))
    change_policy(
        work,
        "mcp-transit-encryption",
        lambda text: text.replace("transit/decrypt/smarteros-secrets", "transit/decrypt/*"),
    )


@fault("F140j", "An entity adds a policy", "policy", caught(CHECK, "access-unlisted", "ci", "sys/step-down"))
def by_entity(work: VaultWork) -> None:
    """Give the entity behind a role's login a policy that the role does not have."""
    only(work, "ci")
    names: list[str] = []

    def give(root: hvac.Client) -> None:
        root.sys.create_or_update_acl_policy(
            "by-entity", 'path "sys/step-down" { capabilities = ["update", "sudo"] }', pretty_print=False
        )
        with work.stand.subject.as_role("ci") as client:
            entity = client.auth.token.lookup_self()["data"]["entity_id"]
        names.append(entity)
        root.adapter.post(f"/v1/identity/entity/id/{entity}", json={"policies": ["by-entity"]})

    def undo(root: hvac.Client) -> None:
        for entity in names:
            root.adapter.post(f"/v1/identity/entity/id/{entity}", json={"policies": []})
        root.sys.delete_acl_policy("by-entity")

    work.afterwards(undo)
    work.with_root(give)


@fault("F140k", "There is a second way to log in", "login", caught(CHECK, "access-login-unknown", "userpass"))
def second_way(work: VaultWork) -> None:
    """Let people log in by a password."""
    only(work, "ci")
    work.afterwards(lambda root: root.sys.disable_auth_method("userpass"))
    work.with_root(lambda root: root.sys.enable_auth_method("userpass"))


@fault(
    "F140l", "There is a role that nobody declared", "login", caught(CHECK, "access-login-unknown", "helper")
)
def second_role(work: VaultWork) -> None:
    """Leave a role of somebody's own, with a policy of the administrator's."""
    only(work, "ci")
    path = f"/v1/auth/{APPROLE_MOUNT}/role/helper"
    work.afterwards(lambda root: root.adapter.delete(path))
    work.with_root(lambda root: root.adapter.post(path, json={"token_policies": ["admin"]}))


@fault(
    "F144b",
    "The server does not list a role's rules",
    "policy",
    caught(CHECK, "access-not-listed", "ci", verdict=Verdict.NOT_PROVEN),
)
def not_listed(work: VaultWork) -> None:
    """Take the right to see the list out of the policy that every role has."""
    only(work, "ci")
    change_policy(work, "default", lambda text: text.replace("ui/resultant-acl", "ui/resultant-nothing"))


@fault(
    "F144c",
    "Nobody says which logins there are",
    "login",
    caught(CHECK, "access-ways-unknown", "denied", verdict=Verdict.NOT_PROVEN),
)
def ways_unknown(work: VaultWork) -> None:
    """Refuse the list."""

    def refuse(message: Message) -> Reply | None:
        return Reply(403, {"errors": ["permission denied"]}) if message.path == "sys/auth" else None

    only(work, "ci")
    work.instead(refuse)
