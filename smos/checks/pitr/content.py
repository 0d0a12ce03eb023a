"""PITR-05 and PITR-08: whether what was recovered is sound, and equals what the source held."""

from smos.checks.dr.content import REMEDIES
from smos.checks.pitr.words import findings_of
from smos.physical.drill import END, MOMENT, POSITION
from smos.physical.facts import AttemptFacts, Outcome, PitrRecord
from smos.verdict import Finding, Judgement, fail, not_proven, note

LISTED = 20


def judge_soundness(record: PitrRecord) -> Judgement:
    """Judge pages, indexes and references of the databases that were recovered to the moment."""
    item = _recovered(record, MOMENT) or _recovered(record, END)
    if item is None:
        return _nothing()
    findings: list[Finding] = findings_of(item.pages)
    for database in item.databases:
        findings += findings_of(database.problems)
    if not item.inspected:
        message = f"Recovered to {item.goal}, where nothing but heartbeats was looked at"
        findings.append(not_proven("integrity-not-checked", message, "mend what PITR-03 names"))
    there = {database.name for database in item.databases}
    findings += [
        fail(
            "database-missing",
            f"{name} is not among the recovered databases",
            "look at what the source holds",
        )
        for name in record.known.databases
        if name not in there
    ]
    if item.inspected and not item.pages_checked and not item.pages:
        verified = any(
            prepared.backup == item.backup and prepared.verified_with for prepared in record.prepared
        )
        words = "The cluster's pages have no checksums"
        findings.append(
            note("checksums-off", f"{words}; its files were compared with their manifest instead")
            if verified
            else not_proven(
                "checksums-off",
                f"{words}, and no manifest says what its files should hold: a changed value would not be seen",
                "pg_checksums --enable on the stopped source; take backups with their manifest",
            )
        )
    return Judgement(
        tuple(findings),
        {"purpose": item.purpose, "databases": sorted(there), "pages_checked": item.pages_checked},
    )


def judge_content(record: PitrRecord) -> Judgement:
    """Judge what differs between the recovered databases and what the source held at the moment."""
    attempts = [
        item for item in (_recovered(record, MOMENT), _recovered(record, POSITION)) if item is not None
    ]
    if not attempts:
        return _nothing()
    findings: list[Finding] = []
    compared = 0
    for item in attempts:
        there = {database.name: database for database in item.databases}
        for name in record.known.databases:
            database = there.get(name)
            if database is None:
                findings.append(
                    fail(
                        "database-missing",
                        f"{item.goal}: {name} is not there",
                        "look at what the source holds",
                    )
                )
            elif database.differences is None:
                findings.append(
                    not_proven("content-unknown", f"Nobody recorded what {name} held", "report this")
                )
            else:
                compared += database.tables
                for difference in database.differences[:LISTED]:
                    kind = not_proven if difference.uncertain else fail
                    remedy = REMEDIES.get(
                        difference.code, "compare with the source; recover from an older base backup"
                    )
                    if difference.code == "unlogged-rows-missing":
                        findings.append(
                            note(difference.code, f"{name}: {difference.object}: {difference.detail}")
                        )
                        continue
                    message = f"{item.goal}: {name}: {difference.object}: {difference.detail}"
                    findings.append(kind(difference.code, message, remedy))
    if not compared and not findings:
        findings.append(not_proven("content-unknown", "No table was compared", "report this"))
    return Judgement(
        tuple(findings), {"attempts": [item.purpose for item in attempts], "tables_compared": compared}
    )


def _recovered(record: PitrRecord, purpose: str) -> AttemptFacts | None:
    item = record.attempt(purpose)
    return item if item is not None and item.outcome is Outcome.RECOVERED else None


def _nothing() -> Judgement:
    message = "Nothing was recovered, so there is nothing to look at"
    return Judgement((not_proven("not-recovered", message, "mend what PITR-01 to PITR-03 name"),))
