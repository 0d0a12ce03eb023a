"""Consumers of one pass: each understands one kind of content and says what it is worth."""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol

from smos.backup.dumpfiles import Member, archive_facts, dump_content
from smos.backup.facts import ContentFacts
from smos.backup.model import Artifact, ArtifactKind
from smos.backup.names import printable
from smos.backup.pgdump import ArchiveHeader, PlainScanner, TocError, parse_archive_header
from smos.backup.pgrestore import FullRead
from smos.backup.probe import classify, volume_names
from smos.backup.streams import StreamFault, detect_encryption
from smos.backup.tarscan import Sink, TarScanner
from smos.target import Limits
from smos.verdict import Problem

ToolFinder = Callable[[str], Path | None]
"""Gives the pg_restore for an archive with this compression (none, gzip, lz4, zstd); None when there is
none."""
CUSTOM_TOC_BYTES = 8 << 20
"""Kept of a custom dump to parse its table of contents; of a larger one only pg_restore reads it."""
START_S = 60
SLOWEST_BYTES_PER_S = 1_000_000
"""pg_restore may take this long to start, and to read: a damaged dump has been seen to keep it busy for ever."""
_PLAIN = {ArtifactKind.PG_DUMP_PLAIN, ArtifactKind.PG_DUMPALL, ArtifactKind.GLOBALS}
_PLACED = {
    ArtifactKind.MANIFEST,
    ArtifactKind.SIGNATURE,
    ArtifactKind.VOLUME_ENTRIES,
    ArtifactKind.VAULT_CANARY,
}
"""Kinds that the place in a set of ours decides, because their bytes are only JSON or base64."""


class ContentReader(Protocol):
    """A consumer that has an opinion at the end."""

    def feed(self, data: bytes) -> object:
        """Take the next bytes of the content."""
        ...

    def result(self, *, shown: str, whole: bool) -> ContentFacts:
        """Say what it was. whole: the content was read to its end without a fault of the stream."""
        ...


@cache
def find_restore_tool(compression: str) -> Path | None:
    """Return the newest pg_restore on this machine, if possible one that was built with `compression`."""
    from smos.provision.installations import find_installations

    found = [
        (
            compression not in {"zstd", "lz4"} or compression in one.features,
            one.version_num,
            one.bin_dir / "pg_restore",
        )
        for one in find_installations()
        if (one.bin_dir / "pg_restore").is_file()
    ]
    return max(found)[2] if found else None


def choose_reader(
    head: bytes,
    artifact: Artifact,
    *,
    path: Path,
    stem: str,
    known_volumes: Collection[str],
    limits: Limits,
    tool: ToolFinder,
) -> ContentReader:
    """Return the reader for content that begins with `head`."""
    if artifact.kind in _PLACED:
        return OpaqueReader(artifact.kind, read_by="hash only")
    if detect_encryption(head[:64]):
        return OpaqueReader(ArtifactKind.UNKNOWN)
    found = classify(head, complete=False, stem=stem, known_volumes=known_volumes)
    if found.kind is ArtifactKind.PG_DUMP_CUSTOM:
        return CustomReader(head, artifact, path=path, limits=limits, tool=tool)
    if found.kind in _PLAIN:
        return PlainReader(artifact, stem)
    if found.kind is ArtifactKind.UNKNOWN:
        return OpaqueReader(ArtifactKind.UNKNOWN)
    return TarReader(found.kind, artifact, stem=stem, known_volumes=known_volumes, limits=limits)


class OpaqueReader:
    """Content whose structure is not looked at."""

    def __init__(self, kind: ArtifactKind, *, read_by: str = "") -> None:
        self._facts = ContentFacts(kind=kind, read_by=read_by)

    def feed(self, data: bytes) -> None:
        """Drop the bytes."""

    def result(self, *, shown: str, whole: bool) -> ContentFacts:  # noqa: ARG002  (the protocol's signature)
        """Return what was known before."""
        return self._facts


class PlainReader:
    """A dump as SQL text: pg_dump's, pg_dumpall's, or globals only."""

    def __init__(self, artifact: Artifact, stem: str) -> None:
        self._artifact = artifact
        self._stem = stem
        self._scanner = PlainScanner()
        self.feed = self._scanner.feed

    def result(self, *, shown: str, whole: bool) -> ContentFacts:
        """Judge the trailer, and name the databases."""
        plain = self._scanner.facts()
        kind = ArtifactKind.PG_DUMPALL if plain.cluster else ArtifactKind.PG_DUMP_PLAIN
        if plain.cluster and not plain.databases and not plain.connects:
            kind = ArtifactKind.GLOBALS
        names = plain.databases
        if kind is ArtifactKind.PG_DUMP_PLAIN:
            names = names[:1] or self._artifact.databases or ((self._stem,) if self._stem else ())
        problems = (
            (Problem("dump-truncated", f"{shown}: {plain.trailer}"),) if plain.trailer and whole else ()
        )
        return ContentFacts(
            kind=kind,
            databases=tuple(printable(name) for name in names),
            server_version=printable(plain.server_version),
            dump_version=printable(plain.dump_version),
            has_objects=plain.has_objects,
            has_rows=None if kind is ArtifactKind.GLOBALS else plain.has_rows,
            read_by="to the completion trailer" if whole and not plain.trailer else "",
            problems=problems,
        )


class _Restoring:
    """Starts a full read by pg_restore and keeps why it could not."""

    def __init__(
        self, header: ArchiveHeader | None, *, source: Path | None, timeout_s: float, tool: ToolFinder
    ) -> None:
        self._run: FullRead | None = None
        self._problem: Problem | None = None
        path = tool(header.compression if header else "none")
        if path is None:
            self._problem = Problem("version-gap", "there is no pg_restore on this machine")
            return
        try:
            self._run = FullRead(path, source=source, timeout_s=timeout_s)
        except OSError as error:
            self._problem = Problem("version-gap", f"{path} can't be started: {error.strerror}")

    def feed(self, data: bytes) -> None:
        if self._run:
            self._run.feed(data)

    def finish(self, shown: str) -> Problem | None:
        if self._run:
            return self._run.finish(shown=shown)
        return self._problem and Problem(self._problem.code, f"{shown}: {self._problem.detail}")


class CustomReader:
    """pg_dump's custom format: table of contents here, everything by pg_restore."""

    def __init__(
        self, head: bytes, artifact: Artifact, *, path: Path, limits: Limits, tool: ToolFinder
    ) -> None:
        self._toc = bytearray()
        try:
            header = parse_archive_header(head)
        except TocError:
            header = None
        seekable = artifact.compression == "none" and not artifact.encryption
        timeout_s = min(limits.restore_seconds, START_S + artifact.stored_bytes / SLOWEST_BYTES_PER_S)
        self._restoring = _Restoring(
            header, source=path if seekable else None, timeout_s=timeout_s, tool=tool
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the archive."""
        self._toc += data[: max(CUSTOM_TOC_BYTES - len(self._toc), 0)]
        self._restoring.feed(data)

    def result(self, *, shown: str, whole: bool) -> ContentFacts:
        """Wait for pg_restore and parse the table of contents."""
        problem = self._restoring.finish(shown)
        problems = [problem] if problem and whole else []
        toc = bytes(self._toc)
        facts = archive_facts(
            ArtifactKind.PG_DUMP_CUSTOM, toc, cut=len(toc) >= CUSTOM_TOC_BYTES, shown=shown, problems=problems
        )
        read_by = "pg_restore" if whole and not problem and not facts.problems else ""
        return replace(facts, read_by=read_by)


class TarReader:
    """A tar: volumes, a Vault snapshot, a dump in tar format, or something else."""

    def __init__(
        self,
        kind: ArtifactKind,
        artifact: Artifact,
        *,
        stem: str,
        known_volumes: Collection[str],
        limits: Limits,
    ) -> None:
        self._kind = kind
        self._artifact = artifact
        self._stem = stem
        self._known_volumes = known_volumes
        self._limits = limits
        self._scanner = TarScanner(self._member)
        self._small: dict[str, bytearray] = {}
        self._digests: dict[str, hashlib._Hash] = {}
        self._files: dict[str, Member] = {}

    def _member(self, name: str, size: int) -> Sink | None:
        if self._kind is ArtifactKind.PG_DUMP_TAR:
            self._files[name] = Member(name)
            return self._files[name].feed
        if self._kind is ArtifactKind.VAULT_SNAPSHOT:
            plain = name.removeprefix("./")
            if plain == "SHA256SUMS" and size < 65536:
                return self._small.setdefault(plain, bytearray()).extend
            self._digests[plain] = hashlib.sha256()
            return self._digests[plain].update
        return None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the archive."""
        self._scanner.feed(data)
        if self._scanner.members > self._limits.files:
            raise StreamFault("limit-reached", f"more than {self._limits.files} members; not read further")

    def result(self, *, shown: str, whole: bool) -> ContentFacts:
        """Judge the structure, and name the volumes."""
        tar = self._scanner.facts()
        problems = [Problem("tar-damaged", f"{shown}: {tar.fault}")] if tar.fault and whole else []
        if self._kind is ArtifactKind.PG_DUMP_TAR:
            facts = dump_content(self._kind, self._files, shown=shown, problems=problems)
            return facts if whole else replace(facts, read_by="", problems=())
        if self._kind is ArtifactKind.VAULT_SNAPSHOT and whole and not problems:
            problems += self._snapshot_problems(shown)
        volumes = self._artifact.volumes if self._artifact.names_complete else ()
        kind = self._kind
        if not volumes and kind in {ArtifactKind.VOLUME_ARCHIVE, ArtifactKind.OTHER_ARCHIVE}:
            volumes = volume_names(
                tar.roots, dot_root=tar.dot_root, stem=self._stem, known_volumes=self._known_volumes
            ) or ()  # fmt: skip
        if volumes:
            kind = ArtifactKind.VOLUME_ARCHIVE
        return ContentFacts(
            kind=kind,
            volumes=tuple(printable(name) for name in volumes),
            members=tar.members,
            unsafe=tar.unsafe,
            outward=tar.outward,
            examples=tuple(printable(name) for name in tar.examples),
            read_by="to the end-of-archive blocks" if whole and not tar.fault else "",
            problems=tuple(problems),
        )

    def _snapshot_problems(self, shown: str) -> list[Problem]:
        """Compare a Vault snapshot with the hashes that it carries itself."""
        declared = {}
        for line in self._small.get("SHA256SUMS", b"").decode("utf-8", "backslashreplace").splitlines():
            digest, _, name = line.partition(" ")
            declared[name.strip()] = digest
        if not {"meta.json", "state.bin"} <= declared.keys():
            return [
                Problem("vault-snapshot-damaged", f"{shown}: its own list of hashes is missing or incomplete")
            ]
        return [
            Problem(
                "vault-snapshot-damaged", f"{shown}: {printable(name)} does not fit the snapshot's own hash"
            )
            for name, digest in sorted(declared.items())
            if name not in self._digests or self._digests[name].hexdigest() != digest
        ]
