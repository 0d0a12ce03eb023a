"""F45, F46 and F43x: recovery that stops elsewhere, answers what it can't know, or reaches back to the source."""

# A fault's docstring says what is broken.
# ruff: noqa: D401

import re
from datetime import timedelta

from smos.faults.pitr.workspace import PitrWorkspace
from smos.faults.registry import caught, fault
from smos.selftest.pitr import DIRECTORY
from smos.target import Objectives
from smos.verdict import Verdict


@fault("F45", "Recovery goes on past the moment", "target", caught("PITR-03", "target-overshot", "after"))
def overshot(work: PitrWorkspace) -> None:
    """The target is not heeded."""
    work.run_with(recovery_target_time="", recovery_target_lsn="")


@fault("F45a", "Recovery stops before the moment", "target", caught("PITR-03", "target-undershot", "before"))
def undershot(work: PitrWorkspace) -> None:
    """As soon as the backup is consistent."""
    work.run_with(recovery_target_time="", recovery_target_lsn="", recovery_target="immediate")


@fault("F45b", "A moment before the oldest backup is answered with the backup's state", "target",
       caught("PITR-04", "before-answered", "younger than what was asked for"))  # fmt: skip
def before_answered(work: PitrWorkspace) -> None:
    """The nearest backup is taken, as some tools do with a warning; the server does not object."""
    work.ask(choose=lambda backups, _moment, _position: backups[-1])
    work.run_with(recovery_target_time="", recovery_target="immediate")


@fault(
    "F45c", "A moment after the end of the log is answered", "target", caught("PITR-04", "beyond-answered")
)
def beyond_answered(work: PitrWorkspace) -> None:
    """The server comes up as if it had been reached."""
    work.run_with(recovery_target_time="")


@fault("F45d", "The moment is given in the wrong zone, too early", "target",
       caught("PITR-03", "moment-refused", "no-older-backup"))  # fmt: skip
def zone_early(work: PitrWorkspace) -> None:
    """Chile's local time taken for UTC: three or four hours too early."""
    work.ask(moment=work.material.moment - timedelta(hours=3))


@fault("F45e", "The moment is given in the wrong zone, too late", "target",
       caught("PITR-03", "moment-not-reached", "target-not-reached"))  # fmt: skip
def zone_late(work: PitrWorkspace) -> None:
    """The other way round."""
    work.ask(moment=work.material.moment + timedelta(hours=3))


@fault("F45f", "The label says that the backup began earlier than it did", "target",
       caught("PITR-04", "before-answered", DIRECTORY))  # fmt: skip
def label_backdated(work: PitrWorkspace) -> None:
    """Then it is chosen for a moment before it, and the state that comes up is younger."""
    work.ask(choose=lambda backups, _moment, _position: backups[0])
    work.run_with(recovery_target_time="", recovery_target="immediate")


@fault("F45g", "The label gives its time in a zone that means several", "target",
       caught("PITR-03", "moment-not-tried", "start-unclear", verdict=Verdict.NOT_PROVEN))  # fmt: skip
def zone_unclear(work: PitrWorkspace) -> None:
    """CST is Chicago's, Havana's and Shanghai's; without a manifest nothing else tells."""
    path = work.backup() / "backup_label"
    path.write_text(re.sub(r"(START TIME: .*) \S+\n", r"\1 CST\n", path.read_text()))
    (work.backup() / "backup_manifest").unlink()


@fault(
    "F46",
    "The sandbox archives into the source's archive",
    "sandbox",
    caught("PITR-07", "archive-written", ".history"),
)
def archives_back(work: PitrWorkspace) -> None:
    """As a restored server does that keeps its settings: its new timeline lands among the source's files."""
    work.wal.chmod(0o777)
    for folder in (work.place, work.place.parent):
        folder.chmod(0o755)
    work.run_with(archive_mode="on", archive_command=f"cp %p {work.wal}/%f")


@fault(
    "F46a", "The sandbox runs with archiving on", "sandbox", caught("PITR-07", "sandbox-open", "archive_mode")
)
def archiving_on(work: PitrWorkspace) -> None:
    """Even where the command does nothing."""
    work.run_with(archive_mode="on", archive_command="true")


@fault("F46b", "A segment is overwritten during the drill", "sandbox", caught("PITR-07", "store-changed"))
def segment_overwritten(work: PitrWorkspace) -> None:
    """With the same content, and its times set back."""
    import os

    path = work.segments()[0]
    facts = path.stat()

    def overwrite() -> None:
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    work.meanwhile(overwrite)


@fault("F46c", "A segment disappears during the drill", "sandbox", caught("PITR-07", "store-changed"))
def segment_removed(work: PitrWorkspace) -> None:
    """As archive_cleanup_command would do."""
    work.meanwhile(work.segments()[0].unlink)


@fault(
    "F46d",
    "The sandbox loads a library at its start",
    "sandbox",
    caught("PITR-07", "sandbox-open", "shared_preload"),
)
def library_loaded(work: PitrWorkspace) -> None:
    """What the backup's settings ask for must not be loaded."""
    work.run_with(shared_preload_libraries="auto_explain")


@fault("F430", "Too much would be lost", "objectives", caught("PITR-06", "rpo-exceeded", "86400"))
def too_much_lost(work: PitrWorkspace) -> None:
    """The archive ended more than a day before the disaster."""
    work.ask(known_disaster=work.material.disaster + timedelta(hours=25))


@fault("F431", "The content reaches beyond the disaster", "objectives",
       caught("PITR-06", "rpo-implausible", verdict=Verdict.NOT_PROVEN))  # fmt: skip
def beyond_disaster(work: PitrWorkspace) -> None:
    """Clocks disagree."""
    work.ask(known_disaster=work.material.disaster - timedelta(hours=2))


@fault("F432", "Heartbeats are rarer than the objective", "objectives", caught("PITR-06", "rpo-exceeded"))
def tight_objective(work: PitrWorkspace) -> None:
    """An objective below what can be shown."""
    work.objectives = Objectives(rpo_hours=1e-9)


@fault(
    "F435", "The recovery takes longer than the objective", "objectives", caught("PITR-06", "rto-exceeded")
)
def slow_recovery(work: PitrWorkspace) -> None:
    """An objective below what copying and replaying take."""
    work.objectives = Objectives(rto_hours=1e-9)


@fault("F433", "A declared database is not in the cluster", "content", caught("PITR-05", "database-missing", "billing"),
       caught("PITR-08", "database-missing", "billing"))  # fmt: skip
def database_missing(work: PitrWorkspace) -> None:
    """The backup is of another cluster than the target says."""
    work.ask(known_databases=("shop", "billing"))


@fault("F434", "The superuser's name is unknown", "target",
       caught("PITR-03", "moment-not-tried", "superuser-unknown", verdict=Verdict.NOT_PROVEN))  # fmt: skip
def superuser_unknown(work: PitrWorkspace) -> None:
    """A gap of what was declared, not of the backup."""
    work.ask(superuser="administrador")
