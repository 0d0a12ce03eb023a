"""F40 and F40x: archives of the write-ahead log with gaps, damage, foreign files, and timelines that lead astray."""

# A fault's docstring says what is broken.
# ruff: noqa: D401

import gzip
import json
import shutil
from pathlib import Path

from smos.errors import SmosError
from smos.faults.pitr.kinds import Kind
from smos.faults.pitr.workspace import SEGMENT, PitrWorkspace
from smos.faults.registry import caught, fault
from smos.physical.wal import lsn_number, segment_name, split_name
from smos.selftest.pitr import DIRECTORY, TAR
from smos.target import Objectives
from smos.verdict import Verdict


def _fullest(work: PitrWorkspace) -> tuple[Path, int]:
    """Return the segment that holds most, of those behind the backup's end that others follow, and its bytes.

    A busy machine takes a backup slowly: what its own end lies in, or before, is no matter of how far the log leads.
    Raises SmosError where there is none: the fault would break nothing.
    """
    manifest = json.loads((work.material.place / DIRECTORY / "backup_manifest").read_bytes())
    end = max(lsn_number(item["End-LSN"]) for item in manifest["WAL-Ranges"]) // SEGMENT
    behind = [path for path in work.needed()[:-2] if split_name(path.name, SEGMENT)[1] > end]
    if not behind:
        raise SmosError(
            f"the fault changes nothing: no segment lies between the backup's end (segment {end:X}) and the last two",
            remedy="let the source write more behind its last backup (smos/selftest/pitr.py)",
        )
    found = ((path, len(path.read_bytes().rstrip(b"\0"))) for path in behind)
    return max(found, key=lambda pair: pair[1])


@fault("F40", "A segment of the log is missing", "log", caught("PITR-02", "wal-gap", "00000001"),
       caught("PITR-03", "moment-not-reached"))  # fmt: skip
def segment_missing(work: PitrWorkspace) -> None:
    """In the middle."""
    needed = work.needed()
    needed[len(needed) // 3].unlink()


@fault("F40a", "The first segment that the backup needs is missing", "log", caught("PITR-02", "wal-gap", DIRECTORY),
       caught("PITR-03", "moment-not-reached", "log-missing"))  # fmt: skip
def first_missing(work: PitrWorkspace) -> None:
    """Pruned by age."""
    work.needed()[0].unlink()


@fault(
    "F40b",
    "The archive ends before the moment",
    "log",
    caught("PITR-03", "moment-not-reached", "target-not-reached"),
)
def ends_early(work: PitrWorkspace) -> None:
    """Everything of the newest timeline is gone, and nothing follows the gap."""
    for path in work.segments(2):
        path.unlink()


@fault("F40c", "The last segment is torn", "log", caught("PITR-02", "wal-torn"))
def last_torn(work: PitrWorkspace) -> None:
    """Copied while it was written, without a flush."""
    path = work.segments()[-1]
    path.write_bytes(path.read_bytes()[: SEGMENT // 3])


@fault(
    "F40d",
    "A segment is empty from its middle on",
    "log",
    caught("PITR-02", "replay-short", "stopped without an error"),
)
def segment_holed(work: PitrWorkspace) -> None:
    """Preallocated and never written to the end: the server takes it for the end of the log."""
    path, used = _fullest(work)
    path.write_bytes(path.read_bytes()[: used // 2] + bytes(SEGMENT - used // 2))


@fault("F40e", "A segment does not begin as one", "log", caught("PITR-02", "wal-headless"))
def segment_headless(work: PitrWorkspace) -> None:
    """Its first page is empty."""
    path = work.needed()[1]
    path.write_bytes(bytes(8192) + path.read_bytes()[8192:])


@fault("F40f", "A record of the log is damaged", "log", caught("PITR-02", ("replay-short", "replay-failed")))
def record_damaged(work: PitrWorkspace) -> None:
    """Its checksum is wrong: the server takes it for the end of the log."""
    path, used = _fullest(work)
    data = bytearray(path.read_bytes())
    data[used // 2] ^= 0xFF
    path.write_bytes(data)


@fault(
    "F40g",
    "A gap leaves a stretch of time uncovered",
    "log",
    caught("PITR-06", "uncovered-stretch", "missing"),
)
def stretch_uncovered(work: PitrWorkspace) -> None:
    """Between the older backup and the newer one."""
    work.use(Kind.BOTH)
    work.objectives = Objectives(rpo_hours=1e-7)
    for path in work.backup(TAR).glob("pg_wal.tar*"):  # it may reach up to the newer backup
        path.unlink()
    manifest = json.loads((work.backup(TAR) / "backup_manifest").read_bytes())
    first = segment_name(1, lsn_number(manifest["WAL-Ranges"][0]["Start-LSN"]) // SEGMENT, SEGMENT)
    for path in work.segments(1):
        if first < path.name < work.needed()[0].name:
            path.unlink()
    # Labels tell whole seconds, and the source takes both backups within one where the machine is quick.
    label = work.backup() / "backup_label"
    text = label.read_text()
    year = text.partition("START TIME: ")[2][:4]
    label.write_text(text.replace(f"START TIME: {year}", f"START TIME: {int(year) + 1}"))


@fault("F40h", "There is no segment", "log", caught("PITR-02", "wal-empty"))
def no_segment(work: PitrWorkspace) -> None:
    """archive_mode is off."""
    for path in work.wal.iterdir():
        path.unlink()


@fault("F40i", "The directory of the archive is not there", "log",
       caught("PITR-02", "replay-failed"))  # fmt: skip
def no_archive(work: PitrWorkspace) -> None:
    """Not mounted: the backup has no log of its own, so it can't even be started."""
    shutil.rmtree(work.wal)


@fault("F40j", "A compressed segment is cut", "log", caught("PITR-02", "wal-damaged", ".gz"))
def compressed_cut(work: PitrWorkspace) -> None:
    """The archive was compressed, and one file broke off."""
    for path in work.segments():
        data = gzip.compress(path.read_bytes(), 1)
        path.with_name(f"{path.name}.gz").write_bytes(data)
        path.unlink()
    cut = min(work.wal.glob("00000002*.gz"))
    cut.write_bytes(cut.read_bytes()[:-2000])


@fault(
    "F400",
    "A timeline's history names another switch",
    "timelines",
    caught("PITR-02", "timeline-history-damaged", "timeline 2"),
)
def history_wrong(work: PitrWorkspace) -> None:
    """It tells of a switch that came later."""
    path = work.wal / "00000002.history"
    parent, position, reason = path.read_text().split("\t")
    high, low = position.split("/")
    path.write_text(f"{parent}\t{high}/{int(low, 16) + 2 * SEGMENT:X}\t{reason}")


@fault("F401", "A timeline's history is missing", "timelines",
       caught("PITR-02", "timeline-history-missing", "00000002"),
       caught("PITR-03", "moment-not-reached"))  # fmt: skip
def history_missing(work: PitrWorkspace) -> None:
    """Only segments were archived."""
    (work.wal / "00000002.history").unlink()


@fault(
    "F402",
    "A history of another cluster leads away",
    "timelines",
    caught("PITR-02", "timeline-not-ours", "before the backup began"),
)
def history_foreign(work: PitrWorkspace) -> None:
    """The newest timeline branched off before the backup began."""
    (work.wal / "00000003.history").write_text("1\t0/1000028\tno recovery target specified\n")


@fault(
    "F403",
    "A history is no history",
    "timelines",
    caught("PITR-02", "timeline-history-damaged", "00000002.history"),
)
def history_garbage(work: PitrWorkspace) -> None:
    """Cut to nothing."""
    (work.wal / "00000002.history").write_bytes(b"\0" * 41)


@fault("F404", "A segment of another cluster lies in the archive", "log", caught("PITR-02", "wal-foreign"))
def segment_foreign(work: PitrWorkspace) -> None:
    """Two servers archive into one directory."""
    path = work.needed()[2]
    data = bytearray(path.read_bytes())
    data[24] ^= 0xFF
    path.write_bytes(data)


@fault("F405", "The whole archive is another cluster's", "log", caught("PITR-02", "wal-foreign"),
       caught("PITR-03", "moment-not-reached"))  # fmt: skip
def archive_foreign(work: PitrWorkspace) -> None:
    """The wrong directory was named."""
    for path in work.segments():
        data = bytearray(path.read_bytes())
        data[24] ^= 0xFF
        path.write_bytes(data)


@fault("F406", "Two segments are swapped", "log", caught("PITR-02", "wal-misnamed"))
def segments_swapped(work: PitrWorkspace) -> None:
    """Renamed by hand."""
    one, other = work.needed()[1:3]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


@fault(
    "F407", "The log that the backup brings is damaged", "base backup", caught("PITR-01", "own-log-damaged")
)
def own_log_damaged(work: PitrWorkspace) -> None:
    """Files of pg_wal are not in the manifest; their records have checksums."""
    work.use(Kind.CHAIN)
    from smos.selftest.pitr import SECOND

    path = min((work.backup(SECOND) / "pg_wal").glob("0000*"))
    data = bytearray(path.read_bytes())
    data[400:8000] = bytes(7600)
    path.write_bytes(data)


@fault("F408", "The moment lies in a stretch that only a damaged segment covers", "log",
       caught("PITR-08", "not-recovered", verdict=Verdict.NOT_PROVEN))  # fmt: skip
def nothing_recovered(work: PitrWorkspace) -> None:
    """Where nothing is recovered, nothing can be compared."""
    segment_headless(work)


@fault("F409", "A segment of the archive is damaged, and the backup brings a sound copy of it", "log",
       caught("PITR-02", ("replay-short", "replay-failed")))  # fmt: skip
def copy_hides_damage(work: PitrWorkspace) -> None:
    """A server takes its own copy without a word; whoever starts from an older backup has none."""
    work.use(Kind.TAR)
    manifest = json.loads((work.backup(TAR) / "backup_manifest").read_bytes())
    start = lsn_number(manifest["WAL-Ranges"][0]["Start-LSN"])
    path = work.wal / segment_name(manifest["WAL-Ranges"][0]["Timeline"], start // SEGMENT, SEGMENT)
    data = bytearray(path.read_bytes())
    data[start % SEGMENT + 20] ^= 0xFF  # in the record's checksum
    path.write_bytes(data)
