"""Does a manifest agree with itself? It names the same things in several places, and all of them are believed."""

from collections.abc import Iterator
from datetime import datetime

from smos.backup.envelope import SUFFIX
from smos.backup.manifest import DatabaseEntry, Manifest


def contradictions(manifest: Manifest) -> tuple[str, ...]:
    """Return what a manifest says in one place and denies in another, in words; nothing: it is coherent."""
    return tuple(_contradictions(manifest))


def _contradictions(manifest: Manifest) -> Iterator[str]:
    listed = {item.path.removesuffix(SUFFIX) for item in manifest.artifacts}
    for part, path in _files(manifest):
        if path.removesuffix(SUFFIX) not in listed:
            yield f"{part} lies in {path}, which is not among the artifacts"
    for entry in manifest.databases:
        if not any(path == entry.directory or path.startswith(f"{entry.directory}/") for path in listed):
            yield f"the database {entry.name} lies in {entry.directory}, where no artifact is"
        yield from _of_database(entry)
    roles = manifest.roles.get("roles", {})
    first = [name for name, role in roles.items() if isinstance(role, dict) and role.get("bootstrap")]
    if len(first) > 1:
        yield f"{len(first)} roles are the one that initdb made: {', '.join(sorted(first))}"


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
