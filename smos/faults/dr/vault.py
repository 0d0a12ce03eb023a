"""F60 to F63: Vault that does not come back, opens to too few, or came back without its rules or its keys."""

import json
from typing import Any

import hvac

from smos.faults.dr.workspace import Workspace
from smos.faults.registry import Variant, caught, everywhere, fault
from smos.verdict import Verdict

NOT_PROVEN = Verdict.NOT_PROVEN
MOUNT, KEY = "smarteros", "smarteros-secrets"


@fault(
    "F60a",
    "Vault's snapshot is cut",
    "snapshot",
    everywhere("DR-02", ("vault-snapshot-damaged", "compression-truncated"), "raft.snap"),
    *(caught("DR-06", "vault-snapshot-corrupt", "snapshot", variant=variant) for variant in Variant),
)
def cut(work: Workspace) -> None:
    """Break the transfer off."""
    path = work.path("vault/raft.snap")
    work.replace(path, path.read_bytes()[: path.stat().st_size * 2 // 3])


@fault(
    "F60b",
    "Vault's snapshot is of another cluster",
    "snapshot",
    caught("DR-06", "vault-wrong-cluster", "another cluster"),
)
def other_cluster(work: Workspace) -> None:
    """Mix the snapshots of two clusters up."""
    work.vaultshop.other(work.path("vault"))


@fault("F61a", "Too few key shares are left", "escrow", caught("DR-06", "vault-still-sealed", "key shares"))
def too_few_shares(work: Workspace) -> None:
    """Lose three of five key shares."""
    work.edit_escrow(lambda data: data | {"key_shares": data["key_shares"][:2]})


@fault(
    "F61b",
    "Vault opens with fewer shares than were agreed",
    "escrow",
    caught("DR-06", "vault-unsealed-below-threshold", "fewer than the 4"),
)
def opens_below(work: Workspace) -> None:
    """Agree on four shares; the seal still asks for three."""
    work.edit_escrow(lambda data: data | {"threshold": 4})


@fault(
    "F61c",
    "A key share is of another key",
    "escrow",
    caught("DR-06", ("vault-share-wrong", "vault-wrong-cluster"), "shares"),
)
def wrong_share(work: Workspace) -> None:
    """Damage one of the shares that are not needed."""

    def change(data: dict[str, Any]) -> dict[str, Any]:
        shares = data["key_shares"]
        spoiled = ("B" if shares[4][0] != "B" else "C") + shares[4][1:]
        return data | {"key_shares": [*shares[:4], spoiled]}

    work.edit_escrow(change)


@fault("F61d", "The escrow is missing", "escrow", caught("DR-06", "vault-escrow-missing", verdict=NOT_PROVEN))
def no_escrow(work: Workspace) -> None:
    """Lose the escrow file."""
    work.edit_escrow(lambda data: data)
    work.drop(work.directory / "escrow.json")


@fault("F61e", "The escrow is open to others", "escrow", caught("DR-06", "vault-escrow-exposed", "mode 0644"))
def exposed_escrow(work: Workspace) -> None:
    """Let everybody read the key shares."""
    work.edit_escrow(lambda data: data)
    (work.directory / "escrow.json").chmod(0o644)


@fault(
    "F62a",
    "A policy did not come back",
    "vault",
    caught("DR-06", "vault-policies-missing", "director-gemini"),
)
def policy_missing(work: Workspace) -> None:
    """Delete a policy before the snapshot."""
    work.damage_vault(lambda root: root.sys.delete_acl_policy("director-gemini"))


@fault(
    "F62b",
    "A policy was widened to *",
    "vault",
    caught("DR-06", ("vault-denied-read-granted"), "writer-copilot"),
)
def policy_widened(work: Workspace) -> None:
    """Widen a policy."""
    wide = f'path "{MOUNT}/*" {{ capabilities = ["read"] }}'
    work.damage_vault(
        lambda root: root.sys.create_or_update_acl_policy("writer-copilot", wide, pretty_print=False)
    )


@fault(
    "F62c",
    "A policy lacks `data/` in its path",
    "vault",
    caught("DR-06", "vault-allowed-read-refused", "writer-copilot"),
)
def policy_without_data(work: Workspace) -> None:
    """Write a policy as for KV version 1."""
    old = f'path "{MOUNT}/mcp/github" {{ capabilities = ["read"] }}'
    work.damage_vault(
        lambda root: root.sys.create_or_update_acl_policy("writer-copilot", old, pretty_print=False)
    )


@fault("F62d", "A login did not come back", "vault", caught("DR-06", "vault-login-failed", "executor-codex"))
def login_missing(work: Workspace) -> None:
    """Delete an AppRole."""
    work.damage_vault(lambda root: root.auth.approle.delete_role("executor-codex"))


@fault(
    "F62e",
    "A role that nobody logs in with did not come back",
    "vault",
    caught("DR-06", "vault-auth-missing", "ci"),
)
def role_missing(work: Workspace) -> None:
    """Delete a role that the target does not declare: only the catalogue tells."""
    work.damage_vault(lambda root: root.auth.approle.delete_role("ci"))


@fault("F62f", "A secret did not come back", "vault", caught("DR-06", "vault-secret-missing", "1 of"))
def secret_missing(work: Workspace) -> None:
    """Delete a secret with all its versions."""
    work.damage_vault(
        lambda root: root.secrets.kv.v2.delete_metadata_and_all_versions("mcp/notion", mount_point=MOUNT)
    )


@fault(
    "F62g", "An audit device did not come back", "vault", caught("DR-06", "vault-audit-missing", "socket/")
)
def audit_missing(work: Workspace) -> None:
    """Let the source have had one audit device more than the snapshot."""
    work.damage_vault(lambda _root: None)
    path = work.path("vault/canary.json")
    canary = json.loads(path.read_bytes())
    canary["catalog"]["audit"]["socket/"] = {"type": "socket", "file_path": None, "options": "0" * 64}
    work.replace(path, json.dumps(canary).encode())


@fault(
    "F63a",
    "Old ciphertext does not decrypt: the key is another one",
    "vault",
    caught("DR-06", "vault-canary-undecryptable", "iphertext"),
)
def key_replaced(work: Workspace) -> None:
    """Replace the transit key by a new one of the same name."""

    def damage(root: hvac.Client) -> None:
        root.secrets.transit.update_key_configuration(KEY, deletion_allowed=True)
        root.secrets.transit.delete_key(KEY)
        root.secrets.transit.create_key(KEY)

    work.damage_vault(damage)


@fault(
    "F63b",
    "Old ciphertext does not decrypt: its key version is shut off",
    "vault",
    caught("DR-06", "vault-canary-undecryptable", "iphertext"),
)
def version_shut_off(work: Workspace) -> None:
    """Rotate, and raise min_decryption_version."""

    def damage(root: hvac.Client) -> None:
        root.secrets.transit.rotate_key(KEY)
        root.secrets.transit.update_key_configuration(KEY, min_decryption_version=2)

    work.damage_vault(damage)


@fault(
    "F63c",
    "The canary of the first day does not decrypt",
    "escrow",
    caught("DR-06", "vault-canary-undecryptable", "first day"),
)
def first_day_lost(work: Workspace) -> None:
    """Let the escrow's canary open to another text than on the first day."""
    work.edit_escrow(lambda data: data | {"canary": data["canary"] | {"digest": "0" * 64}})
