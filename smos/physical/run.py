"""Make the part of a drill that some checks need, and no more: what is not asked for costs nothing."""

from collections.abc import Callable, Collection
from pathlib import Path

from smos.clock import Clock
from smos.errors import AbsentError, TargetError
from smos.physical.declared import Physical
from smos.physical.drill import BEFORE, BEYOND, END, MOMENT, POSITION, Drill, Question, Store
from smos.physical.facts import Known, Outcome, PitrRecord
from smos.physical.plain import PlainStore
from smos.physical.sandbox import SandboxPostgres
from smos.provision.owner import Owner
from smos.target import Limits, Provision, Target

NEEDS: dict[str, tuple[str, ...]] = {
    "PITR-01": (),
    "PITR-02": (END,),
    "PITR-03": (MOMENT, POSITION),
    "PITR-04": (BEYOND, BEFORE),
    "PITR-05": (MOMENT,),
    "PITR-06": (END,),
    "PITR-07": (MOMENT,),
    "PITR-08": (MOMENT, POSITION),
}
"""Check to the recoveries that it is judged by."""
ORDER = (END, MOMENT, POSITION, BEYOND, BEFORE)
_SOUND = {"PITR-05"}
_COMPARED_FILES = {"PITR-01", "PITR-05"}
"""Checks that ask whether every file was compared with its manifest."""
_COMPARED = {"PITR-05", "PITR-08"}


def store_of(owner: Owner, declared: Physical, limits: Limits) -> Store:
    """Return the reader of what the target declares."""
    if declared.kind == "pgbackrest":
        from smos.physical.pgbackrest import PgBackRestStore

        return PgBackRestStore(owner, declared.path, declared.stanza, limits, declared.passphrase_file)
    if declared.kind == "barman":
        from smos.physical.barman import BarmanStore

        return BarmanStore(owner, declared.path, declared.stanza, limits)
    return PlainStore(owner, declared.path, declared.wal, limits, instant=declared.restore_mode == "instant")


def question_of(target: Target, clock: Clock) -> Question:
    """Return what a drill of a target's own backups asks."""
    declared = target.physical
    if declared is None:
        raise TargetError("The target declares no physical backups", remedy="add `physical:` (docs/pitr.md)")
    return Question(
        known=Known(disaster=clock.now(), databases=target.database_names),
        moment=declared.moment,
        superuser=declared.superuser,
        restore_s=target.limits.restore_seconds,
    )


def sandbox_for(provision: Provision, kind: str = "plain") -> Callable[..., SandboxPostgres]:
    """Return what makes the sandboxes of this run for a store of this kind.

    Raises AbsentError where containers are asked for and can't do it.
    """
    if provision is not Provision.DOCKER:
        return SandboxPostgres
    if kind != "plain":
        raise AbsentError(
            f"No image holds {kind}, whose own program brings the log to the recovering server",
            remedy="drill these backups with --provision embedded",
        )
    from smos.physical.contained import ContainedSandbox
    from smos.provision.docker.engine import engine

    engine()
    return ContainedSandbox


def run_drill(
    owner: Owner,
    store: Store,
    question: Question,
    clock: Clock,
    checks: Collection[str],
    sandbox: Callable[..., SandboxPostgres] = SandboxPostgres,
) -> PitrRecord:
    """Make what these checks need and return the record. sandbox: see `sandbox_for`.

    Raises SmosError where the harness itself can't go on.
    """
    drill = Drill(owner, store, question, clock, sandbox)
    wanted = {purpose for check in checks for purpose in NEEDS[check]}
    if not question.known.before and wanted & {MOMENT, POSITION}:
        wanted.add(END)  # the moment is chosen, and the sandwich shown, by the heartbeats of the end
    if question.position is None:
        wanted.discard(POSITION)
    drill.prepare_newest()
    sound = bool(_SOUND & set(checks))
    unsound = False
    todo = [purpose for purpose in ORDER if purpose in wanted]
    for number, purpose in enumerate(todo, 1):
        found = drill.recover(
            purpose,
            integrity=sound and purpose == MOMENT,
            compare=purpose in {MOMENT, POSITION} and bool(_COMPARED & set(checks)),
            # A sound store holds no backup that is older than all. The end is inspected where no moment is reached.
            last=not set(todo[number:]) - {BEFORE} and not unsound,
        )
        unsound = unsound or (sound and purpose == MOMENT and found.outcome is not Outcome.RECOVERED)
    if unsound:
        drill.inspect_end()
    return drill.record()


def drill_target(
    owner: Owner,
    target: Target,
    clock: Clock,
    checks: Collection[str],
    provision: Provision = Provision.EMBEDDED,
) -> PitrRecord:
    """Drill what a target declares."""
    question = question_of(target, clock)
    assert target.physical is not None  # noqa: S101  (question_of has raised otherwise)
    sandbox = sandbox_for(provision, target.physical.kind)  # before a store of terabytes is read
    store = store_of(owner, target.physical, target.limits)
    return run_drill(owner, store, question, clock, checks, sandbox)


def drill_place(
    owner: Owner,
    place: Path,
    question: Question,
    clock: Clock,
    checks: Collection[str],
    provision: Provision = Provision.EMBEDDED,
    *,
    wal: Path | None = None,
) -> PitrRecord:
    """Drill a directory of plain backups: the built-in source's. wal: where its archive is; default: in its `wal`."""
    compare = not _COMPARED_FILES.isdisjoint(checks)
    store = PlainStore(owner, place, wal or place / "wal", Limits(), compare=compare)
    return run_drill(owner, store, question, clock, checks, sandbox_for(provision))
