"""DR-03: the databases came back, all of them, whole, and equal to their source; and nothing else was touched."""

from typing import TYPE_CHECKING

from smos.checks.dr.content import content_findings, integrity_findings
from smos.checks.dr.nothing import not_decrypted, nothing_restored
from smos.checks.dr.restore import restore_findings
from smos.verdict import Finding, Judgement, fail, not_proven, note

if TYPE_CHECKING:
    from smos.drill.record import DatabaseContentFacts, DrillRecord


def judge_postgres(record: "DrillRecord") -> Judgement:
    """Judge restore, content and isolation of every declared database from the record of one drill."""
    required = record.target.database_names
    findings: list[Finding] = []
    if record.not_decrypted:
        findings.extend(not_decrypted("database", record.not_decrypted).findings)
    elif record.restore is None:
        findings.extend(nothing_restored("database").findings)
    else:
        findings.extend(restore_findings(required, record.restore))
        content = {facts.database: facts for facts in record.content}
        restored = {database.name for database in record.restore.databases if database.restored}
        for name in required:
            if name in restored:
                findings.extend(_content(name, content.get(name)))
        findings.extend(content_findings("roles", record.role_differences))
        findings.extend(_extensions(record))
    findings.extend(_safety(record))
    return Judgement(tuple(findings), _facts(record))


def _content(name: str, facts: "DatabaseContentFacts | None") -> list[Finding]:
    if facts is None:
        return [
            not_proven(
                "content-not-read",
                f"{name}: restored, but its content could not be read",
                "see the drill's log for the error",
            )
        ]
    findings = list(content_findings(name, facts.differences))
    findings.extend(integrity_findings(name, facts.problems))
    if facts.compared_with != "manifest":
        findings.append(
            not_proven(
                "no-manifest",
                f"{name}: restored with {facts.tables} tables and {facts.rows} rows, but no manifest says what"
                f" it must hold (compared with: {facts.compared_with})",
                "take backups with `smos backup create`, which writes the manifest in the dump's own snapshot",
            )
        )
    return findings


def _extensions(record: "DrillRecord") -> list[Finding]:
    """Judge what the target itself declares of its databases, beside what the manifest says."""
    present = {facts.database: set(facts.extensions) for facts in record.content}
    return [
        fail(
            "extension-missing",
            f"{database.name}: the extension {extension} is declared and did not come back",
            "create the extension on the source before the next backup, or correct the target",
        )
        for database in record.target.databases
        for extension in database.extensions
        if database.name in present and extension not in present[database.name]
    ]


def _safety(record: "DrillRecord") -> list[Finding]:
    safety = record.safety
    findings: list[Finding] = []
    if safety.source_differences:
        findings.append(
            fail(
                "source-changed",
                f"The source differs after the drill in {len(safety.source_differences)} places",
                "stop using this drill and report it: a drill must never touch its source",
            )
        )
    if not safety.sandbox_destroyed:
        findings.append(
            not_proven(
                "sandbox-not-destroyed",
                "The sandbox, which holds personal data, could not be shown to be destroyed",
                "remove the directory named in the drill's log",
            )
        )
    if safety.source_killed:
        findings.append(note("source-was-dead", "The source was killed first: only the backups were read"))
    return findings


def _facts(record: "DrillRecord") -> dict[str, object]:
    restore = record.restore
    return {
        "set": record.chosen_set,
        "sandbox": record.sandbox,
        "databases": [
            {
                "name": facts.database,
                "compared_with": facts.compared_with,
                "tables": facts.tables,
                "rows": facts.rows,
                "differences": len(facts.differences),
            }
            for facts in record.content
        ],
        "restore_seconds": {item.name: item.seconds for item in restore.databases} if restore else {},
        "source_compared_after_drill": record.safety.source_differences is not None,
        "sandbox_destroyed": record.safety.sandbox_destroyed,
    }
