"""A snapshot of a Vault in which something was changed, with a canary that tells what there was.

Every change is one that the server itself made, so the operation says what it was: the oracle is this list.
"""

# One change a line.
# ruff: noqa: E501

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import hvac

from smos.faults.dr.campaign.model import Bench, Dice, Effect, Level, Step, Truth, seal
from smos.faults.dr.workspace import Workspace

MOUNT, KEY = "smarteros", "smarteros-secrets"
POLICIES = (
    "director-gemini",
    "writer-copilot",
    "executor-codex",
    "mcp-transit-encryption",
    "ci",
    "tenant-panaderia-nunoa",
)
ROLES = ("director-gemini", "writer-copilot", "executor-codex", "ci", "backup")
SECRETS = ("mcp/shopify", "mcp/github", "mcp/slack", "mcp/docker", "mcp/notion")
VALUES = "no digest of a secret's value leaves Vault; its own barrier authenticates them"
MORE = "nothing that was there is lost; what was added was added by Vault's own administrator before the snapshot"


@dataclass(frozen=True, slots=True)
class Change:
    """A change by root. subjects: what {0} may be. why: harmless for this reason; empty: it is damage."""

    act: Callable[[hvac.Client, str], object]
    subjects: tuple[str, ...] = ("",)
    why: str = ""


def _policy(text: str) -> Callable[[hvac.Client, str], object]:
    return lambda root, name: root.sys.create_or_update_acl_policy(name, text, pretty_print=False)


def _add_to_policy(root: hvac.Client, name: str) -> object:
    text = root.sys.read_acl_policy(name)["data"]["policy"] + "\n"
    return root.sys.create_or_update_acl_policy(name, text, pretty_print=False)


def _replace_key(root: hvac.Client, _name: str) -> object:
    root.secrets.transit.update_key_configuration(KEY, deletion_allowed=True)
    root.secrets.transit.delete_key(KEY)
    return root.secrets.transit.create_key(KEY)


LIFE = {"token_ttl": "7m", "token_max_ttl": "7m"}
"""Batch tokens have no number of uses to be limited."""
CHANGES: dict[str, Change] = {
    "nothing": Change(lambda _root, _name: None, why="nothing was changed"),
    "delete a policy": Change(lambda root, name: root.sys.delete_acl_policy(name), POLICIES),
    "empty a policy": Change(_policy('path "nowhere" { capabilities = ["deny"] }'), POLICIES),
    "widen a policy": Change(_policy(f'path "{MOUNT}/*" {{ capabilities = ["read", "list"] }}'), POLICIES),
    "add a line to a policy": Change(_add_to_policy, POLICIES),
    "delete a role": Change(lambda root, name: root.auth.approle.delete_role(name), ROLES),
    "change a role": Change(lambda root, name: root.auth.approle.create_or_update_approle(name, **LIFE), ROLES),
    "take a role's policies": Change(lambda root, name: root.auth.approle.create_or_update_approle(name, token_policies=[]), ROLES),
    "delete a secret": Change(lambda root, name: root.secrets.kv.v2.delete_metadata_and_all_versions(name, mount_point=MOUNT), SECRETS),
    "write a secret": Change(lambda root, name: root.secrets.kv.v2.create_or_update_secret(name, {"x": "y"}, mount_point=MOUNT), SECRETS, VALUES),
    "add a secret": Change(lambda root, _name: root.secrets.kv.v2.create_or_update_secret("mcp/new", {"x": "y"}, mount_point=MOUNT), why=MORE),
    "add a policy": Change(lambda root, _name: _policy('path "x" { capabilities = ["read"] }')(root, "new"), why=MORE),
    "replace the transit key": Change(_replace_key),
    "rotate the transit key": Change(lambda root, _name: root.secrets.transit.rotate_key(KEY), why=MORE),
    "shut old versions off": Change(lambda root, _name: (root.secrets.transit.rotate_key(KEY), root.secrets.transit.update_key_configuration(KEY, min_decryption_version=2))),
    "disable the logins": Change(lambda root, _name: root.sys.disable_auth_method("approle")),
    "disable the secrets": Change(lambda root, _name: root.sys.disable_secrets_engine(MOUNT)),
    "disable transit": Change(lambda root, _name: root.sys.disable_secrets_engine("transit")),
}  # fmt: skip


def perform(_bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Take the snapshot after a change."""
    step = steps[0]
    change, done = CHANGES[step.kind], step.kind
    subject = Dice(step.dice).pick(change.subjects)
    work.damage_vault(lambda root: change.act(root, subject))
    seal(work)
    effect = Effect.CHANGED
    if change.why:
        effect = Effect.SAME if step.kind == "nothing" else Effect.EITHER
    return Truth(effect=effect, done=f"{done} {subject}".strip(), checks=("DR-06",), why=change.why)


VAULTS = Level(
    name="vaults",
    title="policies, logins, secrets and keys of a Vault, snapshot taken again",
    kinds=tuple(CHANGES),
    perform=perform,
    examples=2,
)
