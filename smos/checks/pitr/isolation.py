"""PITR-07: what the drill left alone, and what its sandbox did not obey."""

from pathlib import PurePath

from smos.physical.facts import Outcome, PitrRecord
from smos.physical.wal import HISTORY, SEGMENT
from smos.provision.guard import ISOLATED
from smos.verdict import Finding, Judgement, fail, not_proven, note

LISTED = 5
OFF = {
    "archive_mode": {"off"},
    "archive_command": {"", "(disabled)"},
    "archive_library": {""},
    "primary_conninfo": {""},
    "session_preload_libraries": {""},
    "shared_preload_libraries": {""},
}
"""What a sandbox must run with."""
_STOP = "stop drilling in this way at once, and compare the archive with a second copy"


def judge_isolation(record: PitrRecord) -> Judgement:
    """Judge store and archive before and after, and what each sandbox ran with."""
    findings: list[Finding] = []
    ran = [item for item in record.attempts if item.outcome is Outcome.RECOVERED]
    if not ran:
        message = "No sandbox came up, so nothing shows what it would have written"
        findings.append(not_proven("not-recovered", message, "mend what PITR-01 to PITR-03 name"))
    if not record.compared_entries:
        message = "The listing of backups and archive was empty before the drill"
        findings.append(not_proven("listing-empty", message, "let the harness read both"))
    findings += _written(record)
    for item in ran:
        for name, allowed in OFF.items():
            if name in item.settings and item.settings[name] not in allowed:
                findings.append(
                    fail(
                        "sandbox-open",
                        f"The sandbox ({item.purpose}) ran with {name} = {item.settings[name]!r}",
                        _STOP,
                    )
                )
        if "archive_mode" not in item.settings:
            message = f"The sandbox ({item.purpose}) does not say what it ran with"
            findings.append(not_proven("sandbox-unclear", message, "report this"))
        if item.isolation == ISOLATED and item.ways_out:
            message = f"The sandbox ({item.purpose}) was to have no network, and {', '.join(item.ways_out)} leads out"
            findings.append(fail("sandbox-open", message, _STOP))
        if not item.destroyed:
            message = f"The sandbox ({item.purpose}) holds copies of the data and was not removed"
            findings.append(fail("sandbox-kept", message, "remove it by hand"))
    isolation = sorted({item.isolation for item in ran})
    return Judgement(
        tuple(findings),
        {
            "entries_compared": record.compared_entries,
            "changed": len(record.changed),
            "gone": len(record.gone),
            "added": len(record.added),
            "network": isolation,
            "ways_out": sorted({way for item in ran for way in item.ways_out or ()}),
            "settings_of_the_backup_ignored": sorted(
                {name for item in record.prepared for name in item.brought}
            ),
        },
    )


def _written(record: PitrRecord) -> list[Finding]:
    """Say what is not as it was; where others go on writing, new segments of known timelines and pruning are theirs."""
    newest = record.survey.archive.newest_timeline
    live = record.known.live

    def theirs(path: str) -> bool:
        name = PurePath(path).name
        found = SEGMENT.match(name) or HISTORY.fullmatch(name)
        if found is None:
            return not path.startswith(record.survey.archive.directory or "\0")  # a new backup of the source
        return int(found["timeline"], 16) <= newest

    foreign = [path for path in record.added if not (live and theirs(path))]
    findings = []
    if foreign:
        names = ", ".join(PurePath(path).name for path in foreign[:LISTED])
        findings.append(
            fail("archive-written", f"{len(foreign)} files appeared during the drill: {names}", _STOP)
        )
    changed = [*record.changed, *([] if live else record.gone)]
    if changed:
        names = ", ".join(PurePath(path).name for path in changed[:LISTED])
        findings.append(
            fail("store-changed", f"{len(changed)} files changed during the drill: {names}", _STOP)
        )
    others = len(record.added) - len(foreign) + (len(record.gone) if live else 0)
    if others:
        findings.append(
            note("source-writes", f"{others} files came or went as a running source and its pruning do")
        )
    return findings
