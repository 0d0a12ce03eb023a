"""Sources, sandboxes and words shared by the tests of Vault."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import hvac
from pydantic import SecretStr

from smos.checks.dr.vault import judge_vault
from smos.paths import compose_dir
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.target import VaultTarget, load_target
from smos.vault.bootstrap import BootstrapFacts, bootstrap, wait_until_active
from smos.vault.escrow import Escrow, read_escrow, write_escrow
from smos.vault.providers import load_registry
from smos.vault.recovery import VaultFacts, recover
from smos.vault.snapshot import take_snapshot
from smos.verdict import Verdict

TENANTS = ("cl-0001", "cl-0002")


def declared() -> VaultTarget:
    """Return what the built-in target declares."""
    vault = load_target(compose_dir() / "selftest" / "target.yml").vault
    assert vault is not None
    return vault


@dataclass(frozen=True)
class Source:
    """A Vault that was set up, with its escrow, one backup, and (for faults) a root client of the test's own."""

    server: EmbeddedOpenBao
    escrow: Path
    root: hvac.Client
    backup: Path
    facts: BootstrapFacts

    def keys(self) -> Escrow:
        return read_escrow(self.escrow)

    def secrets(self) -> list[str]:
        """Every value that must never be shown."""
        keys = self.keys()
        found = [*keys.shares(), self.root.token]
        for credential in keys.approles.values():
            found += [credential.role_id.get_secret_value(), credential.secret_id.get_secret_value()]
        for path in load_registry().secrets():
            found += self.root.secrets.kv.v2.read_secret(
                path, mount_point="smarteros", raise_on_deleted_version=True
            )["data"]["data"].values()
        return found


def initialise(server: EmbeddedOpenBao, escrow: Path, *, shares: int = 5, threshold: int = 3) -> hvac.Client:
    """Do what an interrupted set-up leaves: shares and a root token in escrow. Returns another root client."""
    client = server.endpoint.client()
    answer = client.sys.initialize(secret_shares=shares, secret_threshold=threshold)
    for key in answer["keys_base64"][:threshold]:
        client.sys.submit_unseal_key(key)
    wait_until_active(client)
    client.token = answer["root_token"]
    second = client.auth.token.create_orphan(policies=["root"])["auth"]["client_token"]
    write_escrow(
        escrow,
        Escrow(
            created=datetime.now(UTC),
            threshold=threshold,
            key_shares=tuple(SecretStr(key) for key in answer["keys_base64"]),
            root_token=SecretStr(second),
        ),
    )
    return client


def stand(owner: Owner, name: str, folder: Path) -> Source:
    """Set a source up, take one backup of it."""
    server = EmbeddedOpenBao(owner, name=name)
    server.start()
    escrow = folder / "escrow.json"
    root = initialise(server, escrow)
    facts = bootstrap(server.endpoint, escrow=escrow, tenants=TENANTS)
    take_snapshot(server.endpoint, read_escrow(escrow), folder / "vault")
    return Source(server, escrow, root, folder / "vault", facts)


def raw_snapshot(source: Source, path: Path) -> Path:
    adapter = hvac.adapters.RawAdapter.from_adapter(source.root.adapter)
    path.write_bytes(adapter.get("/v1/sys/storage/raft/snapshot").content)
    return path


def recovered(
    owner: Owner,
    snapshot: Path,
    canary: Path | None,
    escrow: Escrow | Path | None,
    target: VaultTarget | None = None,
) -> VaultFacts:
    server = EmbeddedOpenBao(owner, name="sandbox", no_network=True)
    server.start()
    try:
        return recover(server, snapshot=snapshot, canary=canary, escrow=escrow, target=target or declared())
    finally:
        server.kill()


def codes(facts: VaultFacts, target: VaultTarget | None = None) -> dict[str, Verdict]:
    judgement = judge_vault(target or declared(), facts)
    return {finding.code: finding.verdict for finding in judgement.findings if finding.verdict != "PASS"}
