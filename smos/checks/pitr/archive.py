"""PITR-02: the archive of the write-ahead log."""

from smos.checks.pitr.words import FAILS, findings_of
from smos.physical.drill import END
from smos.physical.facts import Outcome, PitrRecord
from smos.verdict import Finding, Judgement, fail, not_proven

_NUMBER = slice(8, 24)
"""Of a segment's name, what does not depend on the timeline; it sorts as the log runs."""


def judge_archive(record: PitrRecord) -> Judgement:
    """Judge the listing, and whether replay came as far as the files do."""
    survey, archive = record.survey, record.survey.archive
    findings: list[Finding] = findings_of(archive.problems)
    if not archive.there and not archive.problems:
        findings.append(
            not_proven(
                "no-archive",
                "No archive of the write-ahead log was named: nothing after a backup's end can be recovered",
                "name it in physical.wal",
            )
        )
    elif archive.there and not archive.segments:
        findings.append(fail("wal-empty", f"{archive.directory} holds no segment", FAILS["wal-empty"]))
    elif archive.there:
        for item in survey.backups:
            if item.missing:
                names = ", ".join(item.missing)
                findings.append(
                    fail(
                        "wal-gap",
                        f"{item.id} can be rolled forward to {item.covered_to or 'nothing'} only: {names} is missing",
                        FAILS["wal-gap"],
                    )
                )
    findings += _replayed(record)
    return Judgement(
        tuple(findings),
        {
            "segments": archive.segments,
            "bytes": archive.bytes,
            "segment_bytes": archive.segment_bytes,
            "timelines": list(archive.timelines),
            "newest_timeline": archive.newest_timeline,
            "strangers": list(archive.strangers),
            "covered": {item.id: item.covered_to for item in survey.backups},
        },
    )


def _replayed(record: PitrRecord) -> list[Finding]:
    end = record.attempt(END)
    if end is None or end.outcome in {Outcome.NOT_TRIED, Outcome.LATE, Outcome.REFUSED}:
        detail = end.detail if end else "nobody tried"
        return [
            not_proven("log-not-replayed", f"The log was not replayed: {detail}", "mend what PITR-01 names")
        ]
    if end.outcome is Outcome.FAILED:
        remedy = "read the server's words; fetch the damaged segment from a second archive, or take a new base backup"
        return [
            fail("replay-failed", f"The log can't be replayed to its end ({end.code}): {end.detail}", remedy)
        ]
    backup = next((item for item in record.survey.backups if item.id == end.backup), None)
    if backup is None or not backup.covered_to or not record.survey.archive.there:
        return []
    if not end.reached_file:
        return [not_proven("replay-unclear", "The server does not say how far it came", "report this")]
    if end.reached_file[_NUMBER] < backup.covered_to[_NUMBER]:
        return [
            fail(
                "replay-short",
                f"The server stopped without an error at {end.reached}, in {end.reached_file[_NUMBER]}; the archive"
                f" goes on to {backup.covered_to}: a record there can't be read",
                FAILS["wal-damaged"],
            )
        ]
    return []
