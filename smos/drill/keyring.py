"""The keys of encrypted sets during a drill: from escrow material alone, and from the Vault that came back with it.

Order: the escrow's backup identity opens Vault's snapshot; the key shares unseal the Vault that is restored from it;
the escrow's AppRole `recovery` lets that Vault unwrap the data key of each set. Keys stay in memory.
"""

import shutil
import threading
from dataclasses import replace
from pathlib import Path

from smos.backup.catalog import read_catalog
from smos.backup.envelope import Identity, parse_identity
from smos.backup.facts import ArtifactFacts, SetFacts
from smos.backup.inspect import inspect_artifact
from smos.backup.manifest import MANIFEST_NAME, Manifest
from smos.backup.model import ArtifactKind, Catalog
from smos.backup.opening import NO_KEY, SetKeys, SetOpener
from smos.drill.plan import RestorePlan, make_plan
from smos.drill.record import EncryptionFacts
from smos.errors import BackupError
from smos.target import Target, VaultTarget
from smos.vault.datakey import unwrap_data_key
from smos.vault.escrow import Escrow, read_escrow
from smos.vault.facts import VaultFacts
from smos.vault.model import VaultEndpoint, VaultError
from smos.verdict import Problem

NO_VAULT = "the target declares no Vault, which wraps the keys of encrypted backups"
NOT_BACK = "Vault, which wraps its key, did not come back"


class KeyRing:
    """Opens sets with the escrow of `vault`; until `connect` only Vault's own snapshot. Threads may share it.

    escrow_problem: why the escrow itself can't be used.
    """

    def __init__(self, vault: VaultTarget | None) -> None:
        self._vault = vault
        self._endpoint: VaultEndpoint | None = None
        self._escrow: Escrow | None = None
        self._identity: Identity | None = None
        self._no_data_key = NOT_BACK
        self._no_escrow = NO_VAULT
        self.escrow_problem: Problem | None = None
        self._known: dict[tuple[str, str], SetKeys] = {}
        self._lock = threading.Lock()
        if vault is not None:
            self._read_escrow(vault.escrow)

    def __repr__(self) -> str:
        return "KeyRing(…)"

    def _read_escrow(self, path: Path | None) -> None:
        self._no_escrow = NO_KEY
        if path is None:
            self.escrow_problem = Problem("escrow-missing", "no escrow file was given")
            return
        try:
            self._escrow = read_escrow(path)
            if self._escrow.backup_identity is None:
                self._no_escrow = "the escrow holds no backup identity"
            else:
                self._identity = parse_identity(self._escrow.backup_identity.get_secret_value())
        except VaultError as error:
            self._no_escrow = error.message
            self.escrow_problem = Problem(error.code, error.message)
        except BackupError as error:
            self._no_escrow = error.message

    def connect(self, endpoint: VaultEndpoint) -> None:
        """Use the Vault at `endpoint`, which came back, from now on."""
        self._endpoint = endpoint

    def keys_of(self, manifest: Manifest) -> SetKeys:
        """Return the keys of an encrypted set. Never raises for what is wrong with it, the escrow or Vault."""
        encryption = manifest.encryption
        if encryption is None:
            raise ValueError(f"{manifest.set_id} is not encrypted")
        identity, no_escrow = self._identity, self._no_escrow
        if identity is not None and str(identity.to_public()) != encryption.escrow_recipient:
            no_escrow = f"it is encrypted to {encryption.escrow_recipient}, the escrow holds another identity"
            identity = None
        if self._endpoint is None:
            return SetKeys(escrow=identity, no_escrow=no_escrow, no_data_key=self._no_data_key)
        asked = (encryption.wrapped_key, encryption.transit_key)
        with self._lock:
            keys = self._known.get(asked)
            if keys is None:
                keys = self._known[asked] = self._unwrap(manifest)
        return replace(keys, escrow=identity, no_escrow=no_escrow)

    def _unwrap(self, manifest: Manifest) -> SetKeys:
        credential = self._escrow.approles.get("recovery") if self._escrow else None
        if credential is None:
            return SetKeys(no_data_key="the escrow holds no credential of the role `recovery`")
        if self._endpoint is None or self._vault is None or manifest.encryption is None:
            return SetKeys(no_data_key=self._no_data_key)
        try:
            key = unwrap_data_key(self._endpoint, credential, self._vault.transit_key, manifest.encryption)
        except VaultError as error:
            text = f"the data key of {manifest.set_id}: {error.message}"
            refused = error.code == "data-key-refused"
            return SetKeys(
                no_data_key="the Vault that came back does not unwrap its key",
                problems=(Problem("data-key-undecryptable" if refused else "data-key-not-asked", text),),
            )
        return SetKeys(data_key=key)


def open_snapshot(
    catalog: Catalog, plan: RestorePlan, target: Target, ring: KeyRing, private: Path
) -> tuple[RestorePlan, dict[str, ArtifactFacts], VaultFacts | None]:
    """Decrypt Vault's snapshot of an encrypted set into `private`, with the escrow alone.

    Returns the plan with the plain snapshot, what was seen of the stored one, and, where it could not be opened, the
    facts of a recovery that did not begin.
    """
    manifest, chosen = plan.manifest, plan.chosen
    if manifest is None or chosen is None or plan.vault_snapshot is None:
        return plan, {}, None
    keys = ring.keys_of(manifest)
    opener = SetOpener(chosen.id, manifest, keys, private)
    known = {
        artifact.path: inspect_artifact(
            catalog.directory,
            artifact,
            declared_sha256=None,
            encrypted_expected=True,
            limits=target.limits,
            opener=opener,
        )
        for artifact in chosen.artifacts
        if artifact.kind is ArtifactKind.VAULT_SNAPSHOT
    }
    stored = plan.vault_snapshot.relative_to(catalog.directory).as_posix()
    facts = known[stored]
    if facts.decrypted:
        return replace(plan, vault_snapshot=opener.copy_of(stored)), known, None
    if keys.escrow is None:
        problem = ring.escrow_problem or Problem("snapshot-key-lost", keys.no_escrow)
    else:
        problem = Problem("snapshot-not-opened", "; ".join(item.detail for item in facts.problems))
    return replace(plan, vault_snapshot=None), known, VaultFacts(problems=(problem,))


def decrypted_plan(
    plan: RestorePlan, facts: SetFacts, private: Path, target: Target
) -> tuple[RestorePlan, int]:
    """Return the plan over the files that were decrypted into `private`, and their number.

    What did not open whole is removed: nothing that was not authenticated is ever restored.
    """
    if plan.manifest is None or plan.chosen is None:
        return plan, 0
    root = private / plan.chosen.id
    for artifact in facts.artifacts:
        place = private / artifact.path
        if artifact.decrypted is False and place.is_dir():
            shutil.rmtree(place)
    root.mkdir(mode=0o700, exist_ok=True)
    (root / MANIFEST_NAME).write_bytes(plan.manifest.to_json())
    catalog = read_catalog(private, timezone=target.backups.schedule.timezone, volumes=target.volumes)
    opened = make_plan(catalog, next(item for item in catalog.sets if item.id == plan.chosen.id))
    count = sum(len(item.files) for item in facts.artifacts if item.decrypted)
    return replace(
        opened, chosen=plan.chosen, vault_snapshot=plan.vault_snapshot, vault_canary=plan.vault_canary
    ), count


def encryption_facts(plan: RestorePlan, keys: SetKeys, files: int) -> EncryptionFacts | None:
    """Record how the chosen set was opened."""
    if plan.manifest is None or plan.manifest.encryption is None:
        return None
    encryption = plan.manifest.encryption
    return EncryptionFacts(
        format=encryption.format,
        transit_key=encryption.transit_key,
        key_version=int(encryption.wrapped_key.split(":")[1].removeprefix("v")),
        escrow_recipient=encryption.escrow_recipient,
        files=files,
        reason="" if keys.data_key is not None else keys.no_data_key,
    )
