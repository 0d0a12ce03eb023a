"""Reads a set's manifest and its signature once, as untrusted input."""

from pathlib import Path

from pydantic import ValidationError

from smos.backup.coherence import contradictions
from smos.backup.manifest import MANIFEST_NAME, SIGNATURE_NAME, Manifest
from smos.backup.model import ArtifactKind, BackupSet
from smos.backup.names import printable
from smos.backup.signing import verify_manifest
from smos.errors import BackupError
from smos.target import Target
from smos.verdict import Problem

MANIFEST_BYTES = 256 << 20
SIGNATURE_BYTES = 4096


def stored_manifest(
    root: Path, backup_set: BackupSet, problems: list[Problem]
) -> tuple[bytes, Manifest | None]:
    """Read the manifest's bytes once: the signature is checked over the same bytes that are believed."""
    if not any(artifact.kind is ArtifactKind.MANIFEST for artifact in backup_set.artifacts):
        return b"", None
    try:
        data = _read_small(root / MANIFEST_NAME, MANIFEST_BYTES)
    except OSError as error:
        problems.append(Problem("unreadable", f"{backup_set.id}/{MANIFEST_NAME}: {error.strerror}"))
        return b"", None
    try:
        manifest = Manifest.model_validate_json(data, strict=True)
    except ValidationError:
        if not any(problem.code == "manifest-unreadable" for problem in problems):
            problems.append(Problem("manifest-unreadable", f"{backup_set.id}: it can't be understood"))
        return data, None
    problems += [
        Problem("manifest-contradictory", f"{backup_set.id}: {printable(said)}")
        for said in contradictions(manifest)
    ]
    return data, manifest


def _read_small(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit)


def signature_state(
    directory: Path, backup_set: BackupSet, manifest: bytes, target: Target, problems: list[Problem]
) -> str:
    """Return SetFacts.signature; the signature is checked over the bytes that were read."""
    key = target.backups.manifest_public_key
    if key is None:
        return "not-required"
    if key.resolve().is_relative_to(directory.resolve()):
        text = f"the public key {key.name} lies with the backups: who replaces a backup can replace it too"
        problems.append(Problem("key-beside-backups", text))
    if not manifest or not backup_set.signed:
        return "missing"
    try:
        signature = _read_small(directory / backup_set.id / SIGNATURE_NAME, SIGNATURE_BYTES)
        return "valid" if verify_manifest(manifest, signature, key) else "invalid"
    except (BackupError, OSError) as error:
        text = error.message if isinstance(error, BackupError) else f"{SIGNATURE_NAME}: {error.strerror}"
        problems.append(Problem("signature-unverifiable", f"{backup_set.id}: {text}"))
        return "unverifiable"
