"""Encrypted sets on a real Vault: what lies on disk, who may open it, and what a drill can still say without a key."""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smos.backup.catalog import read_catalog
from smos.backup.create import BackupSource, VaultAccess, create_backup
from smos.backup.envelope import DataKey
from smos.backup.inspect import inspect_set
from smos.backup.manifest import MANIFEST_NAME, Manifest, read_manifest
from smos.checks.dr.backups import judge_existence, judge_integrity
from smos.cli.app import app
from smos.clock import ShiftedClock, SystemClock
from smos.drill.keyring import KeyRing
from smos.errors import BackupError, TargetError
from smos.provision.owner import Owner
from smos.target import Backups, Target, VaultTarget
from smos.vault.escrow import ensure_recipient, escrow_recipient, read_credential, read_escrow, write_escrow
from smos.vault.model import VaultError
from smos.vault.snapshot import backup_credential
from smos.verdict import Verdict
from tests._vault_kit import Source, stand

MARK = b"rows-of-a-customer-that-nobody-may-read"


@dataclass(frozen=True)
class Place:
    """A Vault, a volume, and an encrypted set of both."""

    vault: Source
    volume: Path
    directory: Path
    made: Path
    staging: Path

    @property
    def manifest(self) -> Manifest:
        """The set's manifest."""
        manifest = read_manifest(self.made)
        assert manifest is not None
        return manifest

    def target(self, **changes: object) -> Target:
        """Return what is declared of it."""
        vault = VaultTarget(escrow=self.vault.escrow)
        backups = Backups(directory=self.directory, encrypted=True)
        return Target(name="t", backups=backups, volumes=("data",), vault=vault).model_copy(update=changes)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("envelope")
    with Owner("test-envelope") as owner:
        vault = stand(owner, "envelope", folder)
        volume, directory, staging = folder / "data", folder / "backups", folder / "staging"
        for path in (volume, directory, staging):
            path.mkdir()
        (volume / "customers.csv").write_bytes(MARK * 20_000)
        made = create_backup(source_of(vault, volume), directory, clock=SystemClock(), staging=staging)
        yield Place(vault, volume, directory, made, staging)
        vault.server.stop()


def source_of(vault: Source, volume: Path) -> BackupSource:
    keys = vault.keys()
    access = VaultAccess(
        vault.server.endpoint,
        backup_credential(keys),
        "smarteros",
        "smarteros-secrets",
        escrow_recipient(keys),
    )
    return BackupSource(name="t", volumes={"data": volume}, vault=access)


def ring_of(place: Place, escrow: Path | None = None) -> KeyRing:
    ring = KeyRing(VaultTarget(escrow=escrow or place.vault.escrow))
    ring.connect(place.vault.server.endpoint)
    return ring


def integrity(place: Place, ring: KeyRing | None, directory: Path | None = None) -> dict[str, Verdict]:
    base = directory or place.directory
    target = place.target(backups=Backups(directory=base, encrypted=True))
    (only,) = read_catalog(base, timezone="UTC").sets
    facts = inspect_set(base, only, target=target, keys_of=ring.keys_of if ring else None)
    findings = judge_integrity(target, (facts,)).findings
    return {item.code: item.verdict for item in findings if item.verdict is not Verdict.PASS}


def changed(place: Place, folder: Path, **update: object) -> Path:
    """Copy the set and change its manifest."""
    shutil.copytree(place.made, folder / place.made.name)
    data = place.manifest.model_copy(update=update).to_json()
    (folder / place.made.name / MANIFEST_NAME).write_bytes(data)
    return folder


def test_an_encrypted_set_passes_with_the_escrow_and_names_what_it_holds(place: Place) -> None:
    assert integrity(place, ring_of(place)) == {}
    catalog = read_catalog(place.directory, timezone="UTC")
    assert (catalog.sets[0].volumes, catalog.sets[0].vault) == (("data",), True)
    now = SystemClock().now()
    assert judge_existence(place.target(), catalog, now).verdict is Verdict.PASS


def test_nothing_of_the_content_and_no_key_lies_in_the_set_or_beside_it(place: Place) -> None:
    encryption = place.manifest.encryption
    assert encryption is not None
    key = place.vault.root.secrets.transit.decrypt_data(
        "smarteros-secrets", ciphertext=encryption.wrapped_key
    )
    plain: str = key["data"]["plaintext"]
    identity = read_escrow(place.vault.escrow).backup_identity
    assert identity is not None
    secrets = [
        MARK,
        plain.encode(),
        base64.b64decode(plain)[:32],
        str(DataKey.from_base64(plain).identity).encode(),
    ]
    secrets.append(identity.get_secret_value().encode())
    files = [path for path in place.directory.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".age", ".json"}
    for path in files:
        assert not any(secret in path.read_bytes() for secret in secrets), path
    assert list(place.staging.iterdir()) == []


def test_without_the_escrow_the_bytes_are_checked_and_the_content_stays_unproven(place: Place) -> None:
    assert integrity(place, None) == {"encrypted-not-read": Verdict.NOT_PROVEN}
    assert integrity(place, KeyRing(VaultTarget(escrow=place.vault.escrow))) == {
        "encrypted-not-read": Verdict.NOT_PROVEN
    }


def test_a_byte_that_changed_is_seen_without_any_key(place: Place, tmp_path: Path) -> None:
    folder = changed(place, tmp_path)
    path = folder / place.made.name / "volumes" / "data.tar.zst.age"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert integrity(place, None, folder)["hash-mismatch"] is Verdict.FAIL
    assert integrity(place, ring_of(place), folder)["decryption-failed"] is Verdict.FAIL


def test_a_key_that_was_rotated_still_opens_and_a_rewrapped_one_too(place: Place, tmp_path: Path) -> None:
    root, encryption = place.vault.root, place.manifest.encryption
    assert encryption is not None
    root.secrets.transit.rotate_key("smarteros-secrets")
    assert integrity(place, ring_of(place)) == {}
    answer = root.secrets.transit.rewrap_data("smarteros-secrets", ciphertext=encryption.wrapped_key)
    wrapped = answer["data"]["ciphertext"]
    assert wrapped.startswith("vault:v2:")
    rewrapped = changed(place, tmp_path, encryption=encryption.model_copy(update={"wrapped_key": wrapped}))
    assert integrity(place, ring_of(place), rewrapped) == {}


def test_a_key_version_that_is_shut_off_fails_and_comes_back_when_it_is_allowed_again(place: Place) -> None:
    configure = place.vault.root.secrets.transit.update_key_configuration
    place.vault.root.secrets.transit.rotate_key("smarteros-secrets")
    configure("smarteros-secrets", min_decryption_version=2)
    try:
        found = integrity(place, ring_of(place))
    finally:
        configure("smarteros-secrets", min_decryption_version=1)
    assert found["data-key-undecryptable"] is Verdict.FAIL
    assert integrity(place, ring_of(place)) == {}


def test_a_manifest_that_denies_the_encryption_proves_nothing(place: Place, tmp_path: Path) -> None:
    folder = changed(place, tmp_path, encryption=None)
    assert integrity(place, ring_of(place), folder)["encrypted-not-read"] is Verdict.NOT_PROVEN


def test_a_manifest_that_says_nothing_of_a_file_opens_nothing(place: Place, tmp_path: Path) -> None:
    artifacts = tuple(item.model_copy(update={"plain": None}) for item in place.manifest.artifacts)
    folder = changed(place, tmp_path, artifacts=artifacts)
    assert integrity(place, ring_of(place), folder) == {
        "encrypted-not-read": Verdict.NOT_PROVEN,
        "manifest-contradictory": Verdict.FAIL,
    }


@pytest.mark.parametrize("wrapped", ["vault:v1:AAAA", "vault:v9:" + "QUFB" * 20])
def test_a_wrapped_key_that_vault_did_not_make_is_refused(place: Place, tmp_path: Path, wrapped: str) -> None:
    encryption = place.manifest.encryption
    assert encryption is not None
    folder = changed(place, tmp_path, encryption=encryption.model_copy(update={"wrapped_key": wrapped}))
    assert integrity(place, ring_of(place), folder)["data-key-undecryptable"] is Verdict.FAIL


def test_the_backup_role_opens_no_backup(place: Place, tmp_path: Path) -> None:
    escrow = read_escrow(place.vault.escrow)
    thief = escrow.model_copy(update={"approles": {"recovery": escrow.approles["backup"]}})
    write_escrow(tmp_path / "escrow.json", thief)
    found = integrity(place, ring_of(place, tmp_path / "escrow.json"))
    assert found == {"data-key-not-asked": Verdict.NOT_PROVEN, "encrypted-not-read": Verdict.NOT_PROVEN}


def test_an_escrow_that_others_can_read_is_not_used(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "escrow.json"
    write_escrow(path, read_escrow(place.vault.escrow))
    path.chmod(0o644)
    ring = KeyRing(VaultTarget(escrow=path))
    assert ring.escrow_problem is not None
    assert ring.escrow_problem.code == "escrow-exposed"
    assert ring.keys_of(place.manifest).escrow is None


def test_plain_text_is_never_staged_among_the_backups(place: Place) -> None:
    inside = place.directory / ".staging"
    inside.mkdir()
    try:
        with pytest.raises(BackupError, match="lies in the backup directory"):
            create_backup(
                source_of(place.vault, place.volume),
                place.directory,
                clock=ShiftedClock(timedelta(days=-1), SystemClock()),
                staging=inside,
            )
    finally:
        inside.rmdir()
    assert [path.name for path in place.directory.iterdir()] == [place.made.name]


def test_a_vault_that_makes_no_key_leaves_no_backup(place: Place, tmp_path: Path) -> None:
    keys = place.vault.keys()
    wrong = VaultAccess(
        place.vault.server.endpoint,
        keys.approles["ci"],
        "smarteros",
        "smarteros-secrets",
        escrow_recipient(keys),
    )
    source = BackupSource(name="t", volumes={"data": place.volume}, vault=wrong)
    with pytest.raises(BackupError, match="nothing can be encrypted"):
        create_backup(source, tmp_path, clock=SystemClock())
    assert list(tmp_path.iterdir()) == []


def test_the_recipient_is_made_once_and_never_replaced(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "escrow.json"
    write_escrow(path, read_escrow(place.vault.escrow).model_copy(update={"backup_identity": None}))
    first = ensure_recipient(path)
    assert first.startswith("age1")
    assert ensure_recipient(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    identity = read_escrow(path).backup_identity
    assert identity is not None
    assert "AGE-SECRET-KEY" not in repr(read_escrow(path))


def test_the_command_makes_an_encrypted_set_and_says_no_secret(place: Place, tmp_path: Path) -> None:
    approle = tmp_path / "backup.json"
    approle.touch(mode=0o600)
    credential = backup_credential(place.vault.keys())
    approle.write_text(credential.model_dump_json(), encoding="utf-8")
    run = CliRunner()
    printed = run.invoke(app, ["backup", "recipient", "--escrow", str(place.vault.escrow)])
    assert printed.exit_code == 0
    recipient = printed.output.strip()
    words = ["backup", "create", "--to", str(tmp_path / "out"), "--volume", f"data={place.volume}"]
    words += ["--vault-address", place.vault.server.endpoint.url, "--approle", str(approle)]
    words += ["--encrypt", "--recipient", recipient]
    (tmp_path / "out").mkdir()
    done = run.invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert integrity(place, ring_of(place), tmp_path / "out") == {}
    assert not any(secret in done.output + printed.output for secret in place.vault.secrets())
    with pytest.raises(TargetError, match="go together"):
        run.invoke(app, words[:-2], catch_exceptions=False)
    with pytest.raises(TargetError, match="in clear text"):
        run.invoke(app, [*words[:7], "http://vault.example", *words[8:]], catch_exceptions=False)
    approle.chmod(0o640)
    with pytest.raises(VaultError, match="open to others"):
        read_credential(approle)


def test_the_commands_of_the_documentation_open_a_set_by_hand(place: Place, tmp_path: Path) -> None:
    """The script of docs/encryption.md, run as it stands there, gives the identity that age needs."""
    import pyrage

    text = (Path(__file__).parent.parent / "docs" / "encryption.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    encryption = place.manifest.encryption
    assert encryption is not None
    answer = place.vault.root.secrets.transit.decrypt_data(
        "smarteros-secrets", ciphertext=encryption.wrapped_key
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", found[1]],
        input=answer["data"]["plaintext"],
        capture_output=True,
        text=True,
        check=True,
    )
    identity = pyrage.x25519.Identity.from_str(done.stdout.strip())
    data = (place.made / "volumes" / "data.jsonl.zst.age").read_bytes()
    assert pyrage.decrypt(data, [identity])
    escrow = json.loads(place.vault.escrow.read_text(encoding="utf-8"))
    snapshot = (place.made / "vault" / "raft.snap.age").read_bytes()
    assert pyrage.decrypt(snapshot, [pyrage.x25519.Identity.from_str(escrow["backup_identity"])])
