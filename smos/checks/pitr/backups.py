"""PITR-01: the base backup, as it lies there and as it arrived in the sandbox."""

from smos.checks.pitr.words import FAILS, findings_of
from smos.physical.facts import PitrRecord
from smos.verdict import Finding, Judgement, Problem, fail, not_proven


def judge_backups(record: PitrRecord) -> Judgement:
    """Judge what was found, fetched and verified."""
    survey = record.survey
    problems = [*survey.problems]
    for item in survey.backups:
        problems += item.problems
    for prepared in record.prepared:
        problems += prepared.problems
    findings: list[Finding] = findings_of(problems)
    if not survey.backups and not survey.problems:
        findings.append(
            fail("no-base-backup", f"{survey.place} holds no base backup", FAILS["no-base-backup"])
        )
    identifiers = {item.system_identifier for item in survey.backups if item.system_identifier}
    if len(identifiers) > 1:
        names = ", ".join(f"{item.id} ({item.system_identifier})" for item in survey.backups)
        findings += findings_of(
            [Problem("cluster-mixed", f"backups of {len(identifiers)} clusters: {names}")]
        )
    if not record.prepared and survey.backups:
        findings.append(
            not_proven(
                "backup-not-fetched",
                "No backup was brought into a sandbox",
                "mend what the other findings name",
            )
        )
    for prepared in record.prepared:
        if not prepared.verified_with and "manifest-unhashed" not in {
            item.code for item in prepared.problems
        }:
            findings.append(
                not_proven(
                    "manifest-absent",
                    f"{prepared.backup}: nothing says which files there should be, and what they should hold",
                    "take base backups with their manifest (pg_basebackup writes backup_manifest; keep it)",
                )
            )
    return Judgement(
        tuple(findings),
        {
            "kind": survey.kind,
            "backups": [
                {"id": item.id, "form": item.form, "postgresql": item.major, "start": item.start,
                 "started": item.started.isoformat() if item.started else None, "incremental": bool(item.parent)}
                for item in survey.backups
            ],
            "verified": [
                {"backup": item.backup, "chain": list(item.chain), "with": item.verified_with, "files": item.files,
                 "bytes": item.bytes, "fetch_s": round(item.fetch_s, 3), "verify_s": round(item.verify_s, 3),
                 "combine_s": round(item.combine_s, 3), "settings_ignored": list(item.brought)}
                for item in record.prepared
            ],
            "tool": survey.tool,
        },
    )  # fmt: skip
