"""The volumes of a drill: one restoration per archive, compared later, and the rules that tie them to databases."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from smos.backup.manifest import Manifest
from smos.backup.references import ReferenceFacts, check_references, unchecked
from smos.backup.volumes import Restoration, VolumeFacts
from smos.drill.plan import VolumeSource
from smos.target import FileReference, Limits, Target
from smos.verdict import Problem

Names = Callable[[str, str], tuple[list[str] | None, str]]
"""Asks (database, query) for names; None and the reason where they can't be had."""


def restore_volumes(
    sources: Iterable[VolumeSource], destination: Path, limits: Limits, stack: ExitStack
) -> list[Restoration]:
    """Extract every archive once, below `destination`; `stack` closes what the comparison still needs.

    Raises OSError when the destination can't be written at all.
    """
    by_archive: dict[Path, list[VolumeSource]] = {}
    for source in sources:
        by_archive.setdefault(source.archive, []).append(source)
    restorations = []
    for number, (archive, members) in enumerate(sorted(by_archive.items())):
        restoration = stack.enter_context(
            Restoration(
                archive,
                destination / str(number),
                volumes=tuple(member.name for member in members),
                limits=limits,
                entries={member.name: member.entries for member in members if member.entries},
                compression=members[0].compression,
            )
        )
        restoration.restore()
        restorations.append(restoration)
    return restorations


def verify_volumes(
    restorations: Iterable[Restoration],
    destination: Path,
    target: Target,
    manifest: Manifest | None,
    names: Names,
) -> tuple[VolumeFacts, ...]:
    """Read every volume back, compare it with its list and the manifest, and check the target's file references."""
    promised = {entry.name: entry for entry in manifest.volumes} if manifest else {}
    verified = []
    for number, restoration in enumerate(restorations):
        for facts in restoration.verify():
            root = destination / str(number) / facts.name
            rules = [rule for rule in target.references if rule.volume == facts.name]
            references = tuple(_reference(rule, root, facts, names) for rule in rules)
            problems = facts.problems
            if manifest is not None and facts.restored and facts.compared:
                entry = promised.get(facts.name)
                listed = (facts.listed_files, facts.listed_bytes)
                if entry is None or (entry.files, entry.bytes) != listed:
                    count = "nothing" if entry is None else f"{entry.files} files with {entry.bytes} bytes"
                    detail = f"the manifest promises {count}, its list {listed[0]} with {listed[1]}"
                    problems = (*problems, Problem("manifest-contradicts", detail))
            verified.append(replace(facts, references=references, problems=problems))
    return tuple(verified)


def _reference(rule: FileReference, root: Path, facts: VolumeFacts, ask: Names) -> ReferenceFacts:
    if not facts.restored:
        return unchecked(rule.name, rule.volume, "the volume did not come back")
    names, reason = ask(rule.database, rule.sql)
    if names is None:
        return unchecked(rule.name, rule.volume, f"the query could not be asked: {reason}")
    return check_references(root, names, rule=rule.name, volume=rule.volume, prefix=rule.prefix)
