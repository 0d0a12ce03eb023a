"""Manifests are signed with Ed25519: only the holder of the private key can make a signature that fits."""

import base64
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from smos.backup.signing import generate_keypair, sign_manifest, verify_manifest
from smos.errors import BackupError
from tests._backup_kit import keys

DATA = b'{"schema": 1}'


def test_a_signature_verifies_with_the_public_key_of_its_pair(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    assert verify_manifest(DATA, sign_manifest(DATA, private), public)


def test_any_changed_bit_of_manifest_or_signature_is_refused(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    signature = sign_manifest(DATA, private)
    raw = base64.b64decode(signature)
    for position in range(len(DATA) * 8):
        changed = bytearray(DATA)
        changed[position // 8] ^= 1 << position % 8
        assert not verify_manifest(bytes(changed), signature, public)
    for position in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[position // 8] ^= 1 << position % 8
        assert not verify_manifest(DATA, base64.b64encode(changed), public)


def test_a_signature_by_another_key_is_refused(tmp_path: Path) -> None:
    private, _ = keys(tmp_path / "attacker")
    _, public = keys(tmp_path / "ours")
    assert not verify_manifest(DATA, sign_manifest(DATA, private), public)


@pytest.mark.parametrize("signature", [b"", b"\n", b"not base64!", b"AAAA", b"\xff" * 88], ids=str)
def test_what_is_no_signature_is_refused_without_an_error(tmp_path: Path, signature: bytes) -> None:
    _, public = keys(tmp_path)
    assert not verify_manifest(DATA, signature, public)


def test_the_private_key_is_readable_by_its_owner_only_and_nothing_is_overwritten(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(BackupError, match="can't be created"):
        generate_keypair(private, public)
    assert (private.read_bytes(), public.read_bytes()) == before


def test_half_a_pair_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "taken.pub").write_text("x")
    with pytest.raises(BackupError):
        generate_keypair(tmp_path / "new.pem", tmp_path / "taken.pub")
    assert not (tmp_path / "new.pem").exists()


def test_a_private_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    private.chmod(0o640)
    with pytest.raises(BackupError, match="other users"):
        sign_manifest(DATA, private)


def test_keys_that_cannot_be_used_are_errors_that_never_show_them(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    secret = b"".join(private.read_bytes().splitlines()[1:-1])
    damaged = tmp_path / "damaged.pem"
    damaged.write_bytes(private.read_bytes().replace(b"BEGIN", b"BEGUN"))
    damaged.chmod(0o600)
    other = tmp_path / "ec.pem"
    curve = ec.generate_private_key(ec.SECP256R1())
    other.write_bytes(curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    other.chmod(0o600)
    other_public = tmp_path / "ec.pub"
    other_public.write_bytes(curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for key in (damaged, other, tmp_path / "missing.pem"):
        with pytest.raises(BackupError) as error:
            sign_manifest(DATA, key)
        assert secret.decode() not in str(error.value)
    signature = sign_manifest(DATA, private)
    for key in (damaged, other_public, tmp_path / "missing.pub", private):
        with pytest.raises(BackupError):
            verify_manifest(DATA, signature, key)
    assert verify_manifest(DATA, signature, public)


def test_openssl_agrees_about_the_signature(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "sig").write_bytes(base64.b64decode(sign_manifest(DATA, private)))
    done = subprocess.run(
        [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            public,
            "-rawin",
            "-in",
            "data",
            "-sigfile",
            "sig",
        ],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert b"Verified Successfully" in done.stdout, done.stderr
