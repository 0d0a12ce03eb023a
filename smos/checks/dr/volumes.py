"""DR-04: every declared volume came back, entry by entry; what could not be shown is said."""

from collections.abc import Sequence

from smos.backup.entries import DifferenceKind, EntryDifference
from smos.backup.references import ReferenceFacts
from smos.backup.volumes import VolumeFacts
from smos.checks.dr.nothing import not_decrypted
from smos.checks.dr.volume_words import DIFFERENCES, PROBLEMS, UNKNOWN_PROBLEM
from smos.target import FileReference
from smos.verdict import Finding, Judgement, Verdict, fail, not_proven, note

SHOWN = 5
"""Entries named in a message; the record holds more."""


def judge_volumes(
    required: Sequence[str],
    facts: Sequence[VolumeFacts],
    rules: Sequence[FileReference] = (),
    *,
    closed: str = "",
) -> Judgement:
    """Judge the restore of the `required` volumes, and the declared `rules` that name files in them.

    What the target does not require is not judged, though the set may hold it. closed: why an encrypted set could
    not be opened.
    """
    if closed:
        return Judgement(not_decrypted("volume", closed).findings, _facts(required, facts))
    by_name = {item.name: item for item in facts}
    findings: list[Finding] = []
    for name in required:
        if name in by_name:
            findings.extend(_volume(by_name[name]))
        else:
            findings.append(_missing(name, "the backup set holds no archive of it"))
    findings.extend(_rules(rules, facts))
    return Judgement(tuple(findings), _facts(required, facts))


def _missing(name: str, why: str) -> Finding:
    return fail(
        "volume-missing",
        f"{name}: did not come back: {why}",
        "see that the backup names this volume, and that its directory was not empty or renamed on the source",
    )


def _volume(item: VolumeFacts) -> list[Finding]:
    findings = _problems(item)
    if not item.restored and not findings:
        findings.append(_missing(item.name, f"nothing in {item.archive} belongs to it"))
    gap = any(finding.verdict is Verdict.NOT_PROVEN for finding in findings)
    findings.extend(_difference(item.name, difference, gap=gap) for difference in item.differences)
    if item.restored and not item.has_entries:
        findings.append(
            not_proven(
                "no-manifest",
                f"{item.name}: restored with {item.files} files and {item.bytes} bytes, but no list of entries"
                " says what it must hold",
                "take backups with `smos backup create`, which lists every entry while it archives",
            )
        )
    elif item.restored and not item.compared and not item.problems:
        findings.append(
            not_proven(
                "volume-not-compared",
                f"{item.name}: restored, and not compared with its list of entries",
                "see the drill's log for what ended the comparison",
            )
        )
    findings.extend(_notes(item))
    return findings


def _problems(item: VolumeFacts) -> list[Finding]:
    """One finding for each code, with its count and the first details."""
    details: dict[str, list[str]] = {}
    for problem in item.problems:
        details.setdefault(problem.code, []).append(problem.detail)
    counts = dict(item.extraction.problem_counts) if item.extraction else {}
    findings = []
    for code, texts in details.items():
        word = PROBLEMS.get(code, UNKNOWN_PROBLEM)
        count = max(counts.get(code, 0), len(texts))
        shown = "; ".join(texts[:SHOWN]) + (f"; {count} in all" if count > SHOWN else "")
        findings.append(
            Finding(
                word.code, f"{item.name} ({item.archive}): {word.what}: {shown}", word.remedy, word.verdict
            )
        )
    return findings


def _difference(name: str, difference: EntryDifference, *, gap: bool) -> Finding:
    """Turn a difference into a finding; gap: the restore was incomplete for a reason that lies in the sandbox."""
    word = DIFFERENCES[difference.kind]
    shown = "; ".join(f"{example.entry}: {example.detail}" for example in difference.examples[:SHOWN])
    entries = "entry" if difference.count == 1 else "entries"
    message = f"{name}: {word.what}, {difference.count} {entries}; {shown}"
    if word.verdict is Verdict.PASS:
        return note(word.code, message)
    if gap:
        return not_proven(
            word.code, message, "first close the gap that is named beside this, then repeat the drill"
        )
    find = f"; find an entry by its id in the list: zstdcat {name}.jsonl.zst | grep ID"
    return Finding(word.code, message, word.remedy + find, word.verdict)


def _notes(item: VolumeFacts) -> list[Finding]:
    """Say what an auditor should know of how the comparison was made."""
    findings = []
    for what, where in (
        ("owners", item.owners_checked),
        ("modes", item.modes_checked),
        ("extended attributes", item.xattrs_checked),
    ):
        if item.restored and where == "archive":
            findings.append(
                note(
                    f"{what.replace(' ', '-')}-from-archive",
                    f"{item.name}: some {what} can't be set in this sandbox; they were compared as the archive"
                    " has them. Run the drill as root to compare them on disk",
                )
            )
    extraction = item.extraction
    if extraction and extraction.links_outward:
        findings.append(
            note(
                "links-outward",
                f"{item.name}: {extraction.links_outward} symbolic links point outside of their volume; they are"
                " restored as they are and were never followed",
            )
        )
    return findings


def _rules(rules: Sequence[FileReference], facts: Sequence[VolumeFacts]) -> list[Finding]:
    findings = []
    seen = {reference.rule for item in facts for reference in item.references}
    for item in facts:
        for reference in item.references:
            findings.extend(_reference(reference))
    findings.extend(
        not_proven(
            "reference-not-checked",
            f'"{rule.name}": the files of {rule.volume} were not compared with {rule.database}',
            "see why the database or the volume did not come back, or correct the rule in the target",
        )
        for rule in rules
        if rule.name not in seen
    )
    return findings


def _reference(reference: ReferenceFacts) -> list[Finding]:
    title = f'"{reference.rule}" ({reference.volume})'
    if reference.unreadable is not None:
        return [
            not_proven(
                "reference-not-checked",
                f"{title}: could not be checked: {reference.unreadable}",
                "see why the database or the volume did not come back, or correct the rule in the target",
            )
        ]
    if not reference.checked:
        return [
            not_proven(
                "reference-empty",
                f"{title}: the query names no file, so nothing is shown",
                "correct the rule's query, or remove the rule where the application keeps no files",
            )
        ]
    findings = []
    examples = f" (SHA-256 of the names begin with {', '.join(reference.examples)})"
    if reference.missing:
        findings.append(
            fail(
                "reference-missing-file",
                f"{title}: {reference.missing} of {reference.checked} files that the database names are not in"
                f" the restored volume{examples}",
                "back up the database before its volume, so that no row is newer than the files; then look for"
                " files that are gone on the source as well",
            )
        )
    if reference.refused:
        findings.append(
            fail(
                "reference-refused",
                f"{title}: {reference.refused} of {reference.checked} names leave the volume or are no path{examples}",
                "correct the rule's query or prefix; names must be relative to the prefix inside of the volume",
            )
        )
    return findings


def _facts(required: Sequence[str], facts: Sequence[VolumeFacts]) -> dict[str, object]:
    return {
        "required": list(required),
        "volumes": [
            {
                "name": item.name,
                "archive": item.archive,
                "restored": item.restored,
                "compared_with": "list of entries" if item.compared else "nothing",
                "files": item.files,
                "bytes": item.bytes,
                "restore_seconds": item.seconds,
                "verify_seconds": item.verify_seconds,
                "differences": {
                    difference.kind.value: difference.count
                    for difference in item.differences
                    if difference.kind is not DifferenceKind.MTIME
                },
                "other_times": sum(d.count for d in item.differences if d.kind is DifferenceKind.MTIME),
                "owners_checked": item.owners_checked,
                "modes_checked": item.modes_checked,
                "xattrs_checked": item.xattrs_checked,
                "references": [
                    {
                        "rule": reference.rule,
                        "checked": reference.checked,
                        "missing": reference.missing,
                        "refused": reference.refused,
                    }
                    for reference in item.references
                ],
            }
            for item in facts
        ],
    }
