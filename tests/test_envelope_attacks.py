"""Somebody who can write to the backups: every change of an encrypted set is seen, and nothing hangs or fills a disk."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
import zstandard

from smos.backup.create import create_backup
from smos.backup.manifest import MANIFEST_NAME, Artifact, Plain
from smos.backup.names import SET_PREFIX
from smos.clock import SystemClock
from smos.vault.escrow import write_escrow
from smos.verdict import Verdict
from tests.test_envelope_vault import Place, integrity, place, ring_of, source_of

__all__ = ["place"]  # the fixture

VOLUME = "volumes/data.tar.zst.age"
LIMIT_S = 120.0


def redeclared(place: Place, folder: Path, *, plain: Plain | None = None) -> None:
    """Write a manifest that fits the files; without a signing key this is what an attacker can do."""
    found = {item.path: item for item in place.manifest.artifacts}
    artifacts = []
    for path in sorted(folder.rglob("*.age")):
        data, name = path.read_bytes(), path.relative_to(folder).as_posix()
        known = found[name].plain if name in found else None
        held = plain if name == VOLUME and plain is not None else known
        artifacts.append(
            Artifact(path=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), plain=held)
        )
    artifacts += [item for item in place.manifest.artifacts if item.plain is None]
    manifest = place.manifest.model_copy(update={"artifacts": tuple(artifacts)})
    (folder / MANIFEST_NAME).write_bytes(manifest.to_json())


def link(place: Place, folder: Path) -> None:
    shutil.move(folder / VOLUME, folder.parent.parent / "elsewhere.age")
    (folder / VOLUME).symlink_to(folder.parent.parent / "elsewhere.age")


def fifo(place: Place, folder: Path) -> None:
    (folder / VOLUME).unlink()
    os.mkfifo(folder / VOLUME)


def directory(place: Place, folder: Path) -> None:
    (folder / VOLUME).unlink()
    (folder / VOLUME).mkdir()


def plain_beside(place: Place, folder: Path) -> None:
    (folder / "volumes" / "other.tar.zst").write_bytes(zstandard.compress(b"plain" * 1000))


def sealed_beside(place: Place, folder: Path) -> None:
    shutil.copy(folder / VOLUME, folder / "volumes" / "other.tar.zst.age")


def empty(place: Place, folder: Path) -> None:
    (folder / VOLUME).write_bytes(b"")
    redeclared(place, folder)


def header_only(place: Place, folder: Path) -> None:
    data = (folder / VOLUME).read_bytes()
    (folder / VOLUME).write_bytes(data[: data.index(b"\n---") + 60])
    redeclared(place, folder)


def appended(place: Place, folder: Path) -> None:
    (folder / VOLUME).write_bytes((folder / VOLUME).read_bytes() * 2)
    redeclared(place, folder)


def to_the_recipient(place: Place, folder: Path) -> None:
    assert place.manifest.encryption is not None
    recipient = pyrage.x25519.Recipient.from_str(place.manifest.encryption.escrow_recipient)
    text = zstandard.compress(b"\0" * 10240)
    (folder / VOLUME).write_bytes(pyrage.encrypt(text, [recipient]))
    plain = Plain(bytes=len(text), digest=f"sha256:{hashlib.sha256(text).hexdigest()}")
    redeclared(place, folder, plain=plain)


def bomb(place: Place, folder: Path) -> None:
    """Write what expands beyond every measure under the set's own key: who makes backups may be broken into."""
    key = ring_of(place).keys_of(place.manifest).data_key
    assert key is not None
    text = zstandard.compress(bytes(1 << 28))
    (folder / VOLUME).write_bytes(pyrage.encrypt(text, [key.recipient]))
    digest = key.digest(place.manifest.set_id, VOLUME)
    digest.update(text)
    redeclared(place, folder, plain=Plain(bytes=len(text), digest=f"hmac-sha256:{digest.hexdigest()}"))


ATTACKS: dict[Callable[[Place, Path], None], str] = {
    link: "",
    fifo: "",
    directory: "",
    plain_beside: "not-encrypted",
    sealed_beside: "extra-file",
    empty: "",
    header_only: "decryption-failed",
    appended: "decryption-failed",
    to_the_recipient: "encryption-differs",
    bomb: "bomb",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_changed_set_never_passes(
    attack: Callable[[Place, Path], None], place: Place, tmp_path: Path
) -> None:
    base = tmp_path / "backups"
    shutil.copytree(place.made, base / place.made.name)
    attack(place, base / place.made.name)
    started = time.monotonic()
    found = integrity(place, ring_of(place), base)
    assert time.monotonic() - started < LIMIT_S
    assert Verdict.FAIL in found.values(), found
    if code := ATTACKS[attack]:
        assert any(code in item for item in found), found


def test_manifests_of_two_sets_can_not_change_places(place: Place, tmp_path: Path) -> None:
    second = create_backup(
        source_of(place.vault, place.volume), tmp_path, clock=SystemClock(), staging=place.staging
    )
    base = tmp_path / "backups"
    shutil.copytree(place.made, base / place.made.name)
    shutil.copy(second / MANIFEST_NAME, base / place.made.name / MANIFEST_NAME)
    assert Verdict.FAIL in integrity(place, ring_of(place), base).values()


def test_a_whole_set_can_not_pass_for_one_of_another_day(place: Place, tmp_path: Path) -> None:
    other = f"{SET_PREFIX}20201123_020000"
    shutil.copytree(place.made, tmp_path / other)
    manifest = place.manifest.model_copy(update={"set_id": other})
    (tmp_path / other / MANIFEST_NAME).write_bytes(manifest.to_json())
    assert integrity(place, ring_of(place), tmp_path)["plaintext-differs"] is Verdict.FAIL


def test_the_escrow_of_another_vault_opens_nothing_and_blames_nobody(place: Place, tmp_path: Path) -> None:
    keys = place.vault.keys()
    foreign = keys.model_copy(update={"approles": {}, "backup_identity": None})
    write_escrow(tmp_path / "escrow.json", foreign)
    found = integrity(place, ring_of(place, tmp_path / "escrow.json"))
    assert set(found.values()) == {Verdict.NOT_PROVEN}
