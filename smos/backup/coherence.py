"""Does a manifest agree with itself? It names the same things in several places, and all of them are believed.

It is untrusted input: the work grows with its size and no faster, and what is said of it has a limit.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import PurePosixPath

from smos.backup.envelope import SUFFIX
from smos.backup.manifest import DatabaseEntry, Manifest

CLOCK_STEP = timedelta(minutes=5)
"""Both times are readings of a wall clock, which may be set back during a backup: so much is no contradiction."""
LISTED = 50
"""So many contradictions are named, the others are counted."""


def contradictions(manifest: Manifest) -> tuple[str, ...]:
    """Return what a manifest says in one place and denies in another, in words; nothing: it is coherent."""
    said = _contradictions(manifest)
    named = tuple(islice(said, LISTED))
    more = sum(1 for _ in said)
    return (*named, f"and {more} contradictions more") if more else named


def _contradictions(manifest: Manifest) -> Iterator[str]:
    yield from _twice(manifest)
    listed = {item.path.removesuffix(SUFFIX) for item in manifest.artifacts}
    dumps = _dumps(manifest)
    for part, path in _files(manifest):
        plain = path.removesuffix(SUFFIX)
        if plain not in listed:
            yield f"{part} lies in {path}, which is not among the artifacts"
        elif plain in dumps.files:
            yield f"{part} lies in {path}, which is a database's"
    yield from _misplaced(manifest, listed - dumps.files)
    yield from _envelopes(manifest)
    yield from dumps.shared
    if manifest.started - manifest.finished > CLOCK_STEP:
        yield "it was finished before it was started"
    for entry in manifest.databases:
        if entry.directory not in dumps.filled:
            yield f"the database {entry.name} lies in {entry.directory}, where no artifact is"
        yield from _of_database(entry)
    roles = manifest.roles.get("roles", {})
    if not isinstance(roles, dict):  # what else `roles` may hold is not modelled: DR-03 compares it
        yield "its roles have no names"
        return
    first = [name for name, role in roles.items() if isinstance(role, dict) and role.get("bootstrap")]
    if len(first) > 1:
        yield f"{len(first)} roles are the one that initdb made: {', '.join(sorted(first)[:LISTED])}"


def _misplaced(manifest: Manifest, unclaimed: set[str]) -> Iterator[str]:
    """Yield artifacts that no part claims (it would not be missed there), and volumes that claim another one's.

    unclaimed: the artifacts that are of no database, without the suffix of encrypted ones.
    """
    for path in sorted(unclaimed - {path.removesuffix(SUFFIX) for _, path in _files(manifest)}):
        yield f"{path} is an artifact, and nothing says of what"
    for volume in manifest.volumes:
        if not PurePosixPath(volume.archive).name.startswith(f"{volume.name}.tar"):
            yield f"the volume {volume.name} lies in {volume.archive}, which is called after another one"


def _envelopes(manifest: Manifest) -> Iterator[str]:
    """Yield artifacts of which is said what only an encrypted file has, and encrypted ones of which it is not said."""
    encrypted = manifest.encryption is not None
    for item in manifest.artifacts:
        if item.plain is not None and not encrypted:
            yield f"{item.path} is encrypted, and the set is not"
        elif encrypted and (item.plain is not None) is not item.path.endswith(SUFFIX):
            what = "not called so" if item.plain else "nothing says what is in it"
            yield f"{item.path} is encrypted, and {what}"


@dataclass(frozen=True, slots=True)
class _Dumps:
    """Where databases lie.

    files: artifacts that are of one, without the suffix of encrypted ones. filled: directories (or single files) of
    databases, as the entries spell them, where there is one. shared: in words, what is of two databases.
    """

    files: set[str] = field(default_factory=set)
    filled: set[str] = field(default_factory=set)
    shared: list[str] = field(default_factory=list)


def _dumps(manifest: Manifest) -> _Dumps:
    """Give each artifact to the database in whose directory it lies, or whose single file it is.

    Only an artifact's path ends in the suffix of encrypted ones: a directory may be called so itself.
    """
    found = _Dumps()
    stored = {item.path for item in manifest.artifacts}
    directories = {entry.directory for entry in manifest.databases}
    # A slash sorts before all else here, so that what lies in a directory follows it at once, and it before a file
    # of the same path: one walk finds all, however many there are.
    places = sorted(
        (place.replace("/", "\0"), is_file, place)
        for is_file, group in ((False, directories), (True, stored))
        for place in group
    )
    around: list[str] = []
    for _, is_file, place in places:
        while around and place != around[-1] and not place.startswith(f"{around[-1]}/"):
            around.pop()
        if around:
            found.filled.add(around[-1])
        if is_file and around:
            found.files.add(place.removesuffix(SUFFIX))
        elif not is_file:
            if around:
                found.shared.append(f"{place} lies in {around[-1]}, and they are of two databases")
            around.append(place)
    for directory in sorted(directories):  # a single file, which got its suffix when it was encrypted
        sealed = directory + SUFFIX
        if sealed not in stored:
            continue
        if sealed in directories and sealed + SUFFIX not in stored:
            found.shared.append(f"{sealed} is of two databases")
        found.filled.add(directory)
        found.files.add(directory)
    return found


def _twice(manifest: Manifest) -> Iterator[str]:
    """Of two entries of one thing only one would be believed."""
    named = (
        *(f"the artifact {item.path.removesuffix(SUFFIX)}" for item in manifest.artifacts),
        *(f"the database {item.name}" for item in manifest.databases),
        *(f"what lies in {item.directory}" for item in manifest.databases),
        *(f"the volume {item.name}" for item in manifest.volumes),
        *(f"what lies in {path.removesuffix(SUFFIX)}" for _, path in _files(manifest)),
    )
    for what, times in Counter(named).items():
        if times > 1:
            yield f"{what} is named {times} times"


def _files(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for volume in manifest.volumes:
        yield f"the volume {volume.name}", volume.archive
        yield f"the list of the volume {volume.name}", volume.entries
    if manifest.globals_path is not None:
        yield "globals", manifest.globals_path
    if manifest.vault is not None:
        yield "Vault's snapshot", manifest.vault.snapshot
        yield "Vault's canary", manifest.vault.canary


def _of_database(entry: DatabaseEntry) -> Iterator[str]:
    """Compare the head of a database's entry with what was read in the same snapshot."""
    content = entry.content
    # What is not there at all is said by DR-03, which compares with it.
    if entry.server_version_num != content.get("server_version_num", entry.server_version_num):
        yield f"the database {entry.name} is of two server versions"
    catalogue = content.get("catalogue")
    known = catalogue.get("server_version_num") if isinstance(catalogue, dict) else None
    if known is not None and known != entry.server_version_num:  # any JSON value, also one without a hash
        yield f"the catalogue of the database {entry.name} is of another server version"
    try:
        beat = content.get("heartbeat_at")
        same = (
            "heartbeat_at" not in content
            or (datetime.fromisoformat(beat) if beat else None) == entry.heartbeat_at
        )
    except (TypeError, ValueError):
        same = False
    if not same:
        yield f"the database {entry.name} has two newest heartbeats"
