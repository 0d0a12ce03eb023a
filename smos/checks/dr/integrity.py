"""DR-02: is every artifact complete and unaltered? A pure judgement of what the inspection recorded."""

from collections.abc import Iterable, Sequence

from smos.backup.facts import ArtifactFacts, SetFacts
from smos.backup.model import ArtifactKind
from smos.checks.dr.backup_rules import INTEGRITY, findings_of, listed
from smos.target import Target
from smos.verdict import Finding, Judgement, fail, not_proven, note

_DUMPS = {
    ArtifactKind.PG_DUMP_PLAIN,
    ArtifactKind.PG_DUMPALL,
    ArtifactKind.PG_DUMP_CUSTOM,
    ArtifactKind.PG_DUMP_TAR,
    ArtifactKind.PG_DUMP_DIRECTORY,
}
_UNHASHED = {ArtifactKind.MANIFEST, ArtifactKind.SIGNATURE}


def judge_integrity(
    target: Target,
    sets: Sequence[SetFacts],
    backups_changed: Sequence[str] = (),
    expected: Iterable[str] = (),
) -> Judgement:
    """Judge DR-02: every artifact is complete and unaltered, in every set that was inspected.

    backups_changed: what changed in the backup directory during the drill. expected: IDs of sets that had
    to be inspected.
    """
    findings: list[Finding] = []
    if not sets:
        findings.append(
            not_proven(
                "nothing-inspected", "No backup set was inspected", "see DR-01: there must be a set to read"
            )
        )
    inspected = {facts.set_id for facts in sets}
    skipped = [set_id for set_id in expected if set_id not in inspected]
    if skipped:
        text = f"These sets were not inspected: {listed(skipped)}"
        findings.append(not_proven("set-not-inspected", text, "see the drill's log for why it stopped early"))
    for facts in sets:
        findings += _judge_set(target, facts)
    if backups_changed:
        findings.append(
            fail(
                "backup-directory-changed",
                f"The backup directory changed during the drill: {listed(backups_changed)}",
                "run the drill while no backup is written; if none was, find out what writes there",
            )
        )
    return Judgement(
        tuple(findings),
        {
            "sets": [
                {
                    "id": facts.set_id,
                    "stamp": facts.stamp.isoformat() if facts.stamp else None,
                    "manifested": facts.manifested,
                    "signature": facts.signature,
                    "encrypted": facts.encrypted,
                    "seconds": facts.seconds,
                    "stored_bytes": sum(artifact.stored_bytes for artifact in facts.artifacts),
                    "content_bytes": sum(artifact.content_bytes for artifact in facts.artifacts),
                    "artifacts": [_shown(artifact) for artifact in facts.artifacts],
                }
                for facts in sets
            ],
            "backup_directory_changed": list(backups_changed),
        },
    )


def _shown(artifact: ArtifactFacts) -> dict[str, object]:
    return {
        "path": artifact.path,
        "kind": artifact.kind.value,
        "stored_bytes": artifact.stored_bytes,
        "content_bytes": artifact.content_bytes,
        "sha256": artifact.sha256,
        "declared_by": artifact.declared_by,
        "hash_fits": artifact.hash_fits,
        "server_version": artifact.server_version,
        "entropy": artifact.entropy,
        "read_by": artifact.read_by,
        "encryption": artifact.encryption,
        "decrypted": artifact.decrypted,
    }


def _judge_set(target: Target, facts: SetFacts) -> list[Finding]:
    where = f"Set {facts.set_id}"
    problems = [*facts.problems, *(problem for artifact in facts.artifacts for problem in artifact.problems)]
    findings = findings_of(where, problems, INTEGRITY)
    if facts.signature == "invalid":
        text = f"{where}: the manifest's signature does not fit it or is of another key"
        remedy = "treat the set as forged: take it from another copy, and find out who wrote here"
        findings.append(fail("signature-invalid", text, remedy))
    elif facts.signature == "missing":
        text = f"{where}: the target pins a public key, and the set has no signed manifest"
        findings.append(fail("signature-missing", text, "sign backups (`smos backup create --signing-key`)"))
    elif facts.manifested and facts.signature == "not-required":
        text = f"{where}: its manifest is not checked against a key: who replaces an artifact can replace its hash"
        findings.append(note("manifest-unsigned", text))
    if facts.missing:
        text = f"{where}: the manifest names files that are not there: {listed(facts.missing)}"
        findings.append(fail("missing-artifact", text, "take the set from another copy"))
    if facts.extra:
        text = f"{where}: files that the manifest does not name: {listed(facts.extra)}"
        findings.append(
            fail("extra-file", text, "find out who put them there; a set of ours is never added to")
        )
    findings += _hashes(where, facts)
    findings += _emptiness(target, where, facts)
    findings += _archives(where, facts)
    return findings


def _hashes(where: str, facts: SetFacts) -> list[Finding]:
    findings = []
    extra = set(facts.extra)
    undeclared = [
        artifact.path
        for artifact in facts.artifacts
        if artifact.hash_fits is None and artifact.kind not in _UNHASHED and artifact.path not in extra
    ]
    if undeclared:
        text = f"{where}: nobody can say that these are the bytes that were written: {listed(undeclared)}"
        remedy = (
            "keep a manifest (`smos backup create`) or a hash list (sha256sum) from the moment of writing"
        )
        findings.append(not_proven("no-declared-hash", text, remedy))
    unread = [artifact.path for artifact in facts.artifacts if not artifact.read_by and not artifact.problems]
    if unread:
        text = f"{where}: not read to the end: {listed(unread)}"
        findings.append(not_proven("not-read", text, "see the drill's log"))
    return findings


def _emptiness(target: Target, where: str, facts: SetFacts) -> list[Finding]:
    """F06: sets and dumps that are readable and hold nothing."""
    findings = []
    size = sum(artifact.content_bytes for artifact in facts.artifacts if artifact.kind not in _UNHASHED)
    unread = any(
        problem.code in {"unreadable", "limit-reached", "encrypted-not-read"}
        for a in facts.artifacts
        for problem in a.problems
    )
    if size < target.backups.minimum_bytes and not unread:
        text = f"{where}: {size} bytes altogether, decompressed; at least {target.backups.minimum_bytes} are expected"
        findings.append(
            fail("set-too-small", text, "see why the backup job wrote nothing, and take a backup now")
        )
    dumps = [artifact for artifact in facts.artifacts if artifact.kind in _DUMPS and artifact.read_by]
    empty = [artifact for artifact in dumps if not artifact.has_objects and not artifact.has_rows]
    declared = set(target.database_names)
    wanted = [a.path for a in empty if not a.databases or declared & set(a.databases)]
    other = [artifact.path for artifact in empty if artifact.path not in wanted]
    remedy = "see which database and which rights the backup job used: it saw no table"
    if wanted:
        findings.append(
            fail("dump-empty", f"{where}: dumps without any table or row: {listed(wanted)}", remedy)
        )
    if other:
        text = f"{where}: dumps of undeclared databases without any table or row: {listed(other)}"
        findings.append(note("dump-empty-undeclared", text))
    if facts.manifested:
        return findings  # the manifest says how many rows there must be: DR-03 compares
    rowless = [artifact.path for artifact in dumps if artifact.has_objects and not artifact.has_rows]
    if rowless:
        text = f"{where}: dumps with tables and without a single row: {listed(rowless)}"
        remedy = (
            "check that the job does not dump the schema only, and that row security does not hide the rows"
        )
        findings.append(not_proven("dump-without-rows", text, remedy))
    return findings


def _archives(where: str, facts: SetFacts) -> list[Finding]:
    findings = []
    for artifact in facts.artifacts:
        if artifact.unsafe or artifact.outward:
            text = (
                f"{where}: {artifact.path} holds {artifact.unsafe} names that leave its root and"
                f" {artifact.outward} links that point outside it: {listed(artifact.examples)}"
            )
            findings.append(note("unsafe-member", f"{text}; DR-04 judges what becomes of them"))
    return findings
