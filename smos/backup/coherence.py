"""Does a manifest agree with itself? It names the same things in several places, and all of them are believed."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath

from smos.backup.envelope import SUFFIX
from smos.backup.manifest import DatabaseEntry, Manifest


def contradictions(manifest: Manifest) -> tuple[str, ...]:
    """Return what a manifest says in one place and denies in another, in words; nothing: it is coherent."""
    return tuple(_contradictions(manifest))


def _contradictions(manifest: Manifest) -> Iterator[str]:
    yield from _twice(manifest)
    listed = {item.path.removesuffix(SUFFIX) for item in manifest.artifacts}
    for part, path in _files(manifest):
        if path.removesuffix(SUFFIX) not in listed:
            yield f"{part} lies in {path}, which is not among the artifacts"
    yield from _misplaced(manifest, listed)
    if manifest.finished < manifest.started:
        yield "it was finished before it was started"
    for entry in manifest.databases:
        if not any(_holds(entry, path) for path in listed):
            yield f"the database {entry.name} lies in {entry.directory}, where no artifact is"
        yield from _of_database(entry)
    roles = manifest.roles.get("roles", {})
    if not isinstance(roles, dict):  # what else `roles` may hold is not modelled: DR-03 compares it
        yield "its roles have no names"
        return
    first = [name for name, role in roles.items() if isinstance(role, dict) and role.get("bootstrap")]
    if len(first) > 1:
        yield f"{len(first)} roles are the one that initdb made: {', '.join(sorted(first))}"


def _misplaced(manifest: Manifest, listed: set[str]) -> Iterator[str]:
    """Yield artifacts that no part claims (it would not be missed there), and volumes that claim another one's."""
    unspoken = listed - {path.removesuffix(SUFFIX) for _, path in _files(manifest)}
    for path in sorted(unspoken):
        if not any(_holds(entry, path) for entry in manifest.databases):
            yield f"{path} is an artifact, and nothing says of what"
    for volume in manifest.volumes:
        if not PurePosixPath(volume.archive).name.startswith(f"{volume.name}.tar"):
            yield f"the volume {volume.name} lies in {volume.archive}, which is called after another one"


def _holds(entry: DatabaseEntry, path: str) -> bool:
    """Tell whether an artifact is (of) a database's dump: a file, or a directory of them."""
    directory = entry.directory.removesuffix(SUFFIX)
    return path == directory or path.startswith(f"{directory}/")


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
    if isinstance(catalogue, dict) and catalogue.get("server_version_num") not in {
        None,
        entry.server_version_num,
    }:
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
