"""What inspection records of artifacts and sets. Plain facts, written to the drill's record."""

from dataclasses import dataclass
from datetime import datetime

from smos.backup.model import ArtifactKind
from smos.verdict import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """One stored file. path: relative to the backup directory; sha256: of the stored bytes."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFacts:
    """What the content of one artifact is. See ArtifactFacts."""

    kind: ArtifactKind
    databases: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    server_version: str = ""
    dump_version: str = ""
    has_objects: bool | None = None
    has_rows: bool | None = None
    members: int = 0
    unsafe: int = 0
    outward: int = 0
    examples: tuple[str, ...] = ()
    read_by: str = ""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFacts:
    """What one artifact turned out to be.

    files: the stored file, or all files of a directory. content_bytes: decompressed. sha256: of the only
    file; of a directory, over the sorted lines `<sha256>  <path>`. declared_by: "manifest", "hash list" or
    empty. hash_fits: against what is declared (None: nothing is). entropy, entropy_peak: bits per byte of
    the content, over all samples and of the worst 4 KiB. has_objects, has_rows: whether a dump creates and
    fills anything (None: no dump, or not known). server_version, dump_version: as the dump's header says.
    members, unsafe, outward, examples: of a tar, see TarFacts. read_by: what read the content to its end,
    empty when nothing did. seconds: monotonic. decrypted: None: not encrypted; True: opened, authenticated to its end,
    and the plaintext that the manifest declares.
    """

    path: str
    kind: ArtifactKind
    compression: str
    encryption: str
    stored_bytes: int
    content_bytes: int
    files: tuple[FileFacts, ...]
    sha256: str
    declared_by: str
    hash_fits: bool | None
    entropy: float
    entropy_peak: float
    databases: tuple[str, ...]
    volumes: tuple[str, ...]
    server_version: str
    dump_version: str
    has_objects: bool | None
    has_rows: bool | None
    members: int
    unsafe: int
    outward: int
    examples: tuple[str, ...]
    read_by: str
    seconds: float
    problems: tuple[Problem, ...]
    decrypted: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFacts:
    """What one set turned out to be.

    signature: valid, invalid, missing, unverifiable, or not-required (the target pins no key). missing,
    extra: files that the manifest names and that are not there, and the reverse. encrypted: by its manifest. problems:
    of the set as a whole; those of its artifacts are with them.
    """

    set_id: str
    stamp: datetime | None
    manifested: bool
    signature: str
    artifacts: tuple[ArtifactFacts, ...]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    encrypted: bool = False
    seconds: float = 0.0
    problems: tuple[Problem, ...] = ()
