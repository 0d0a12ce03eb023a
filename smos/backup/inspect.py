"""Reads the artifacts of a backup set whole, once, in constant memory, and records what they are.

One pass gives the hash of the stored bytes, full decompression with every checksum, the structure of tars,
the trailer and the names of dumps, and entropy. Archive formats of pg_dump are read by pg_restore as well.
Nothing is executed, nothing is written.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

from smos.backup.content import ContentReader, OpaqueReader, ToolFinder, choose_reader, find_restore_tool
from smos.backup.dumpdir import ENTROPY_LIMIT, read_dump_directory
from smos.backup.envelope import SUFFIX, Opening
from smos.backup.facts import ArtifactFacts, ContentFacts, FileFacts, SetFacts
from smos.backup.inspect_manifest import signature_state, stored_manifest
from smos.backup.manifest import Manifest
from smos.backup.model import Artifact, ArtifactKind, BackupSet, Catalog
from smos.backup.names import find_stamp, printable, stem
from smos.backup.onepass import PassFacts, read_whole
from smos.backup.opening import SetKeys, SetOpener, stored_problems
from smos.backup.state import (
    DirectoryState,
    OffsiteFacts,
    compare_offsite,
    directory_digest,
    directory_state,
    state_changes,
)
from smos.target import Limits, Target
from smos.verdict import Problem

__all__ = [
    "ArtifactFacts",
    "DirectoryState",
    "FileFacts",
    "OffsiteFacts",
    "SetFacts",
    "compare_offsite",
    "complete_names",
    "directory_digest",
    "directory_state",
    "inspect_artifact",
    "inspect_set",
    "state_changes",
]

JOBS = 2
_UTC = ZoneInfo("UTC")
_TEXT = {ArtifactKind.PG_DUMP_PLAIN, ArtifactKind.PG_DUMPALL, ArtifactKind.GLOBALS}
_NEVER_ENCRYPTED = {
    ArtifactKind.MANIFEST,  # hashes and counts
    ArtifactKind.SIGNATURE,
    ArtifactKind.VAULT_SNAPSHOT,  # Vault's own barrier encrypts it
    ArtifactKind.VAULT_CANARY,  # ciphertext
}
_ALWAYS_PLAIN = _NEVER_ENCRYPTED - {ArtifactKind.VAULT_SNAPSHOT}
"""In an encrypted set, too: they are read before there is any key."""
_UNHASHED = {ArtifactKind.MANIFEST, ArtifactKind.SIGNATURE}
KeysOf = Callable[[Manifest], SetKeys]
"""Gives the keys of the encrypted set with this manifest."""


def inspect_artifact(
    directory: Path,
    artifact: Artifact,
    *,
    declared_sha256: str | None,
    encrypted_expected: bool,
    limits: Limits,
    find_tool: ToolFinder | None = None,
    volumes: Iterable[str] = (),
    opener: SetOpener | None = None,
) -> ArtifactFacts:
    """Read one artifact whole and record what it is.

    directory: the backup directory. declared_sha256: hex, from a manifest; without it the hash list beside
    the file counts (`artifact.declared_hash`). encrypted_expected: what differs from it is a problem.
    limits: bounds on what untrusted input may make of itself. find_tool: gives the pg_restore to use; None:
    what this machine has. volumes: names that the target declares. opener: of a set that its manifest calls encrypted;
    then every artifact must be, and must open.

    A file that can't be read is a problem in the result, not an exception.
    """
    started = time.monotonic()
    finder = find_tool or find_restore_tool
    try:
        if artifact.kind is ArtifactKind.PG_DUMP_DIRECTORY:
            facts = _inspect_directory(directory, artifact, limits, opener)
        else:
            facts = _inspect_file(
                directory,
                artifact,
                limits=limits,
                finder=finder,
                volumes=frozenset(volumes),
                sha256=declared_sha256,
                opener=None if artifact.kind in _ALWAYS_PLAIN else opener,
            )
    except OSError as error:
        facts = _unread(artifact, Problem("unreadable", f"{artifact.path}: {error.strerror}"))
    told = () if opener else _encryption(facts, expected=encrypted_expected)
    more = (*told, *_entropy(facts))
    return replace(facts, problems=(*facts.problems, *more), seconds=round(time.monotonic() - started, 4))


def inspect_set(
    directory: Path,
    backup_set: BackupSet,
    *,
    target: Target,
    find_tool: ToolFinder | None = None,
    jobs: int = JOBS,
    keys_of: KeysOf | None = None,
    copy_to: Path | None = None,
    known: Mapping[str, ArtifactFacts] | None = None,
) -> SetFacts:
    """Inspect all artifacts of a set, in `jobs` threads, and compare them with its manifest where it has one.

    directory: the backup directory. target: gives the limits, whether encryption is expected, and the
    public key that the manifest must be signed with. keys_of: opens an encrypted set. copy_to: a private directory
    that gets the plaintext of what opens, whole and authenticated. known: facts of artifacts that were read before.
    """
    started = time.monotonic()
    problems: list[Problem] = list(backup_set.problems)
    manifest_bytes, manifest = stored_manifest(directory / backup_set.id, backup_set, problems)
    signature = signature_state(directory, backup_set, manifest_bytes, target, problems)
    opener = None
    if manifest is not None and manifest.encryption is not None:
        keys = keys_of(manifest) if keys_of else SetKeys()
        problems += keys.problems
        opener = SetOpener(backup_set.id, manifest, keys, copy_to)

    def inspect(artifact: Artifact) -> ArtifactFacts:
        if known and artifact.path in known:
            return known[artifact.path]
        return inspect_artifact(
            directory,
            artifact,
            declared_sha256=None,
            encrypted_expected=target.backups.encrypted,
            limits=target.limits,
            find_tool=find_tool,
            volumes=target.volumes,
            opener=opener,
        )

    # The largest first, so that the threads end at about the same time.
    order = sorted(backup_set.artifacts, key=lambda artifact: -artifact.stored_bytes)
    with ThreadPoolExecutor(max(jobs, 1)) as pool:
        found = dict(zip((artifact.path for artifact in order), pool.map(inspect, order), strict=True))
    facts = tuple(found[artifact.path] for artifact in backup_set.artifacts)
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    if manifest is not None:
        facts, missing, extra = _compare(backup_set.id, manifest, facts)
    told = {problem for artifact in facts for problem in artifact.problems}
    return SetFacts(
        set_id=backup_set.id,
        stamp=backup_set.stamp,
        manifested=manifest is not None,
        signature=signature,
        artifacts=facts,
        missing=missing,
        extra=extra,
        encrypted=opener is not None,
        seconds=round(time.monotonic() - started, 4),
        problems=tuple(problem for problem in dict.fromkeys(problems) if problem not in told),
    )


def complete_names(catalog: Catalog, sets: Iterable[SetFacts]) -> Catalog:
    """Return the catalog with the names that the inspection found by reading to the end."""
    found = {facts.path: facts for one in sets for facts in one.artifacts}

    def complete(artifact: Artifact) -> Artifact:
        facts = found.get(artifact.path)
        if facts is None or artifact.names_complete or not facts.read_by:
            return artifact
        return replace(
            artifact, kind=facts.kind, databases=facts.databases, volumes=facts.volumes, names_complete=True
        )

    def complete_set(item: BackupSet) -> BackupSet:
        artifacts = tuple(complete(artifact) for artifact in item.artifacts)
        return replace(
            item,
            artifacts=artifacts,
            databases=tuple(sorted({name for artifact in artifacts for name in artifact.databases})),
            volumes=tuple(sorted({name for artifact in artifacts for name in artifact.volumes})),
        )

    return replace(catalog, sets=tuple(complete_set(item) for item in catalog.sets))


def _inspect_file(
    directory: Path,
    artifact: Artifact,
    *,
    limits: Limits,
    finder: ToolFinder,
    volumes: frozenset[str],
    sha256: str | None,
    opener: SetOpener | None,
) -> ArtifactFacts:
    path = directory / artifact.path
    name = path.name.removesuffix(SUFFIX) if opener else path.name
    way = opener.opening(artifact.path) if opener else None
    reader: ContentReader = OpaqueReader(artifact.kind if opener else ArtifactKind.UNKNOWN)

    def choose(head: bytes) -> ContentReader:
        nonlocal reader
        reader = choose_reader(
            head,
            artifact,
            path=path,
            stem=stem(name, find_stamp(name, _UTC)),
            known_volumes=volumes,
            limits=limits,
            tool=finder,
        )
        return reader

    algorithm, _, declared = artifact.declared_hash.partition(":")
    if sha256 is not None:
        algorithm, declared = "sha256", sha256
    algorithms = (algorithm,) if algorithm else ()
    try:
        done = read_whole(
            path,
            shown=artifact.path,
            limits=limits,
            choose=choose,
            algorithms=algorithms,
            opening=way if isinstance(way, Opening) else None,
        )
    except OSError:
        reader.result(shown=artifact.path, whole=False)  # ends what it may have started
        raise
    content = reader.result(shown=artifact.path, whole=done.whole)
    problems = [*done.problems, *content.problems, *_emptiness(artifact, done, content)]
    decrypted: bool | None = None
    if way is not None:
        decrypted = isinstance(way, Opening) and way.opened
        problems += stored_problems(artifact.path, done.encryption, way)
        if not decrypted:  # nothing that was read of it counts
            content = ContentFacts(kind=artifact.kind)
    fits: bool | None = None
    if declared:
        fits = done.other[algorithm] == declared.lower()
        if not fits:
            problems.append(
                Problem("hash-mismatch", f"{artifact.path}: its {algorithm} is not the declared one")
            )
        elif algorithm in {"md5", "sha1"}:
            problems.append(
                Problem("weak-hash", f"{artifact.path}: declared by {algorithm}, which can be forged")
            )
    return _facts(
        artifact,
        content=content,
        files=(FileFacts(path=artifact.path, bytes=done.stored_bytes, sha256=done.sha256),),
        stored_bytes=done.stored_bytes,
        content_bytes=done.content_bytes,
        sha256=done.sha256,
        declared_by="" if not declared else "manifest" if sha256 is not None else "hash list",
        fits=fits,
        compression=done.compression,
        encryption=done.encryption,
        entropy=(done.entropy, done.entropy_peak),
        problems=problems,
        decrypted=decrypted,
    )


def _inspect_directory(
    directory: Path, artifact: Artifact, limits: Limits, opener: SetOpener | None
) -> ArtifactFacts:
    done = read_dump_directory(directory, artifact, limits=limits, opener=opener)
    content = done.content
    problems = list(content.problems)
    if artifact.databases and content.databases and artifact.databases != content.databases:
        # In a set of ours the folder's name says whose dump it is, and the dump's own header must agree.
        detail = f"{artifact.path}: its header names {content.databases[0]}"
        problems.append(Problem("database-differs", detail))
    return _facts(
        artifact,
        content=replace(content, databases=artifact.databases or content.databases),
        files=done.files,
        stored_bytes=done.stored_bytes,
        content_bytes=done.content_bytes,
        sha256=done.sha256,
        declared_by="",
        fits=None,
        compression=artifact.compression,
        encryption=done.encryption,
        entropy=(done.entropy, done.entropy_peak),
        problems=problems,
        decrypted=done.decrypted,
    )


def _unread(artifact: Artifact, problem: Problem) -> ArtifactFacts:
    return _facts(
        artifact,
        content=ContentFacts(kind=artifact.kind),
        files=(),
        stored_bytes=artifact.stored_bytes,
        content_bytes=0,
        sha256="",
        declared_by="",
        fits=None,
        compression=artifact.compression,
        encryption=artifact.encryption,
        entropy=(0.0, 0.0),
        problems=[problem],
    )


def _facts(
    artifact: Artifact,
    *,
    content: ContentFacts,
    files: tuple[FileFacts, ...],
    stored_bytes: int,
    content_bytes: int,
    sha256: str,
    declared_by: str,
    fits: bool | None,
    compression: str,
    encryption: str,
    entropy: tuple[float, float],
    problems: list[Problem],
    decrypted: bool | None = None,
) -> ArtifactFacts:
    return ArtifactFacts(
        path=artifact.path,
        kind=content.kind,
        compression=compression,
        encryption=encryption,
        stored_bytes=stored_bytes,
        content_bytes=content_bytes,
        files=files,
        sha256=sha256,
        declared_by=declared_by,
        hash_fits=fits,
        entropy=entropy[0],
        entropy_peak=entropy[1],
        databases=content.databases,
        volumes=content.volumes,
        server_version=content.server_version,
        dump_version=content.dump_version,
        has_objects=content.has_objects,
        has_rows=content.has_rows,
        members=content.members,
        unsafe=content.unsafe,
        outward=content.outward,
        examples=content.examples,
        read_by=content.read_by,
        seconds=0.0,
        problems=tuple(problems),
        decrypted=decrypted,
    )


def _emptiness(artifact: Artifact, done: PassFacts, content: ContentFacts) -> list[Problem]:
    if not done.stored_bytes:
        return [Problem("empty-file", f"{artifact.path}: zero bytes")]
    if done.whole and not done.content_bytes and content.kind is not ArtifactKind.VOLUME_ENTRIES:
        return [
            Problem("empty-content", f"{artifact.path}: {done.stored_bytes} bytes that decompress to nothing")
        ]
    return []


def _encryption(facts: ArtifactFacts, *, expected: bool) -> list[Problem]:
    if facts.encryption and not expected:
        text = f"{facts.path}: encrypted ({facts.encryption}), the target expects none"
        return [Problem("unexpected-encryption", text)]
    if facts.encryption:
        return [
            Problem("encrypted-not-read", f"{facts.path}: encrypted ({facts.encryption}); content not read")
        ]
    if expected and facts.files and facts.kind not in _NEVER_ENCRYPTED:
        return [Problem("not-encrypted", f"{facts.path}: readable without a key ({facts.kind})")]
    return []


def _entropy(facts: ArtifactFacts) -> list[Problem]:
    """Tell encrypted content where text or a known format should be (what ransomware leaves)."""
    if facts.decrypted is False or (facts.encryption and facts.decrypted is None):
        return []
    codes = {problem.code for problem in facts.problems}
    text = facts.kind in _TEXT or facts.kind is ArtifactKind.PG_DUMP_DIRECTORY
    if text and facts.entropy_peak > ENTROPY_LIMIT:
        return [
            Problem(
                "high-entropy",
                f"{facts.path}: {facts.entropy_peak:.2f} bits per byte in places, where text is expected",
            )
        ]
    if facts.kind is ArtifactKind.UNKNOWN and not facts.encryption and facts.content_bytes:
        code = "high-entropy" if facts.entropy_peak > ENTROPY_LIMIT else "unknown-content"
        if not codes & {"empty-file", "empty-content", "unreadable"}:
            detail = f"of no known format, {facts.entropy:.2f} bits per byte"
            return [Problem(code, f"{facts.path}: {facts.content_bytes} bytes {detail}")]
    return []


def _compare(
    set_id: str, manifest: Manifest, facts: tuple[ArtifactFacts, ...]
) -> tuple[tuple[ArtifactFacts, ...], tuple[str, ...], tuple[str, ...]]:
    """Compare every stored file with what the manifest declares. Paths are only looked up, never opened."""
    declared: Mapping[str, tuple[int, str]] = {
        f"{set_id}/{item.path}": (item.bytes, item.sha256.lower()) for item in manifest.artifacts
    }
    stored = {file.path for artifact in facts for file in artifact.files}
    skipped = {artifact.path for artifact in facts if artifact.kind in _UNHASHED or not artifact.files}
    unread = tuple(f"{path}/" for path in skipped)
    missing = tuple(
        printable(path) for path in sorted(declared.keys() - stored - skipped) if not path.startswith(unread)
    )
    extra = tuple(sorted(stored - declared.keys() - skipped))
    return tuple(_with_manifest(artifact, declared) for artifact in facts), missing, extra


def _with_manifest(facts: ArtifactFacts, declared: Mapping[str, tuple[int, str]]) -> ArtifactFacts:
    known = [(file, declared[file.path]) for file in facts.files if file.path in declared]
    if not known or facts.kind in _UNHASHED:
        return facts
    problems = []
    for file, (size, sha256) in known:
        if file.bytes != size:
            text = f"{file.path}: {file.bytes} bytes, the manifest says {size}"
            problems.append(Problem("size-mismatch", text))
        elif file.sha256 != sha256:
            text = f"{file.path}: its SHA-256 is not the one in the manifest"
            problems.append(Problem("hash-mismatch", text))
    return replace(
        facts,
        declared_by="manifest" if len(known) == len(facts.files) else "",
        hash_fits=not problems,
        problems=(*facts.problems, *problems),
    )
