"""Runs the real driver and the real judge of one check on a (broken) copy, narrowed to what matters.

What is left out of a whole drill is only what the check does not look at: the other databases, the other volumes.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from smos.backup.catalog import read_catalog
from smos.backup.inspect import complete_names, inspect_set
from smos.backup.model import ArtifactKind, BackupSet, Catalog
from smos.backup.state import OffsiteFacts, compare_offsite, directory_state, state_changes
from smos.checks.dr import not_required
from smos.checks.dr.backups import judge_existence, judge_integrity
from smos.checks.dr.objectives import judge_objectives
from smos.checks.dr.postgres import judge_postgres
from smos.checks.dr.retention import judge_retention
from smos.checks.dr.services import judge_services
from smos.checks.dr.vault import judge_vault
from smos.checks.dr.volumes import judge_volumes
from smos.drill.keyring import KeyRing, open_snapshot
from smos.drill.phases import PhaseClock, Timing
from smos.drill.plan import RestorePlan, choose_set, is_encrypted, make_plan
from smos.drill.record import DrillRecord, SafetyFacts
from smos.drill.recover import Recovery, Start, recover_everything
from smos.drill.stack import Sandbox, start_sandbox
from smos.errors import TargetError
from smos.faults.dr.shelf import Loan, Shelf
from smos.faults.dr.workspace import Strike, Workspace
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.target import Target
from smos.vault.recovery import recover
from smos.verdict import Judgement

NOBODY = 65534
DRILLED = frozenset({"DR-03", "DR-04", "DR-05", "DR-07"})
"""Checks that judge the record of a drill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a restore is narrowed to. Empty: everything that the target declares."""

    databases: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


class StrikingClock(PhaseClock):
    """A drill's clock that lets a fault strike the sandbox as the drill enters a phase."""

    def __init__(self, strikes: dict[str, Strike], instead: EmbeddedPostgres | None, start: Start) -> None:
        super().__init__()
        self._strikes = strikes
        self._instead = instead
        self._starter = start
        self.sandbox: Sandbox | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase; what strikes in it strikes first."""
        with super().phase(name):
            if self.sandbox is not None and name in self._strikes:
                self._strikes[name](self.sandbox)
            yield

    def start(self, owner: Owner, plan: RestorePlan, target: Target) -> Sandbox:
        """Start the sandbox as a drill does, and remember it."""
        if self._instead is not None:
            isolation = self._instead.isolation
            self.sandbox = Sandbox(postgres=self._instead, vault=None, vault_ready=None, isolation=isolation)
        else:
            self.sandbox = self._starter(owner, plan, target)
        return self.sandbox


def exercise(
    check_id: str, work: Workspace, scope: Scope, base: Path | None = None, shelf: Shelf | None = None
) -> Judgement:
    """Run one check on the copy and return its judgement.

    base: where the sandbox's directories go (default: the owner's choice). shelf: what was restored of late.
    Raises TargetError for a check that nothing here can run; whatever a driver raises is a defect of the driver and
    passes through.
    """
    if drilled(check_id, work):
        return judge_record(check_id, drill(work, scope, base, shelf))
    if work.judge is not None:
        return work.judge(check_id)
    if check_id == "DR-06":
        with Owner("fault", base=base) as owner:
            return _vault(work, owner)
    with _without_privileges(work):
        return _of_files(check_id, work)


def drilled(check_id: str, work: Workspace) -> bool:
    """Tell whether a check judges the record of a drill: then all such checks can judge the same one."""
    whole = DRILLED | {"DR-02"} if work.whole_drill else DRILLED
    return work.judge is None and check_id in whole


def drill(work: Workspace, scope: Scope, base: Path | None = None, shelf: Shelf | None = None) -> DrillRecord:
    """Recover the copy once, with everything that strikes it, and return the record. See `exercise`."""
    if shelf is not None and work.plain:
        loan = shelf.begin()
        with shelf.room(loan) as room:
            record = _drill(work, scope, room.owner, loan)
        destroyed = not room.left
    else:
        with Owner("fault", base=base) as owner:
            record = _drill(work, scope, owner, None)
        destroyed = not owner.run_dir.exists()
    return replace(record, safety=replace(record.safety, sandbox_destroyed=destroyed))


@contextmanager
def _without_privileges(work: Workspace) -> Iterator[None]:
    """Be an ordinary user meanwhile, where a fault asks for it: root may read whatever mode a file has."""
    if not work.unprivileged or os.geteuid() != 0:
        yield
        return
    _of_files(
        "DR-01", work
    )  # loads what is imported late: the interpreter itself may lie where only root reads
    for path in work.backups.parents:
        mode = path.stat().st_mode & 0o7777
        if mode & 0o011 != 0o011:
            path.chmod(mode | 0o011)
    for path in (work.backups, *work.backups.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def _of_files(check_id: str, work: Workspace) -> Judgement:
    target = work.target
    catalog = _catalog(work)
    if check_id == "DR-08":
        return judge_retention(target, catalog, work.now, work.last_verified)
    if check_id == "DR-01":
        # Only a set with names that its first bytes don't tell needs to be read whole.
        unread = [item for item in catalog.sets if not all(part.names_complete for part in item.artifacts)]
        catalog = complete_names(catalog, [inspect_set(work.backups, item, target=target) for item in unread])
        return judge_existence(target, catalog, work.now, _offsite(target, catalog))
    before = directory_state(work.backups)
    # What a fault does to older sets is judged by DR-01 and DR-08; the pristine run reads all of them.
    wanted = catalog.sets if work.every_set else catalog.sets[-1:]
    keys_of = work.ring.keys_of if work.ring else None
    sets = tuple(inspect_set(work.backups, item, target=target, keys_of=keys_of) for item in wanted)
    changed = state_changes(before, directory_state(work.backups))
    return judge_integrity(target, sets, changed, expected=[item.id for item in wanted])


def _offsite(target: Target, catalog: Catalog) -> OffsiteFacts | None:
    if target.backups.offsite is None:
        return None
    artifacts = tuple(artifact.path for item in catalog.sets for artifact in item.artifacts)
    return compare_offsite(catalog.directory, target.backups.offsite, artifacts)


def _vault(work: Workspace, owner: Owner) -> Judgement:
    target = work.target.vault
    if target is None:
        raise TargetError("the target declares no Vault, so DR-06 can't be exercised")
    catalog = _catalog(work)
    plan = make_plan(catalog, choose_set(catalog, work.now))
    if is_encrypted(plan):
        ring, private = KeyRing(target), owner.directory("decrypted")
        plan, _, closed = open_snapshot(catalog, plan, work.target, ring, private)
        if closed is not None:
            return judge_vault(target, closed)
    if plan.vault_snapshot is None:
        return judge_vault(target, None)
    server = EmbeddedOpenBao(owner, name="sandbox-vault", no_network=True)
    server.start()
    facts = recover(
        server, snapshot=plan.vault_snapshot, canary=plan.vault_canary, escrow=target.escrow, target=target
    )
    return judge_vault(target, facts)


def judge_record(check_id: str, record: DrillRecord) -> Judgement:
    """Judge what a drill recorded. Raises TargetError for a check that does not judge drills."""
    if check_id == "DR-02":
        sets = [item.set_id for item in record.sets]
        return judge_integrity(record.target, record.sets, record.safety.backups_changed, expected=sets)
    if check_id == "DR-03":
        return judge_postgres(record)
    if check_id == "DR-04":
        return judge_volumes(
            record.target.volumes, record.volumes, record.target.references, closed=record.not_decrypted
        )
    if check_id == "DR-05":
        return judge_services(record.target, record.services, record.smoke)
    if check_id == "DR-07":
        return judge_objectives(record.target, record.timing)
    raise TargetError(f"{check_id} can't be exercised")


def _catalog(work: Workspace) -> Catalog:
    return read_catalog(
        work.backups, timezone=work.target.backups.schedule.timezone, volumes=work.target.volumes
    )


def _drill(work: Workspace, scope: Scope, owner: Owner, loan: Loan | None) -> DrillRecord:
    catalog = _catalog(work)
    target = _narrow_target(work.target, scope)
    phases = StrikingClock(work.strikes, work.instead, loan.start if loan else start_sandbox)
    with phases.phase("detect"):
        catalog = _narrow_catalog(catalog, choose_set(catalog, work.now), scope)
        plan = make_plan(catalog, catalog.sets[-1] if catalog.sets else None)
    before = directory_state(work.backups)
    recovery = recover_everything(
        target,
        catalog,
        plan,
        owner,
        phases,
        {},
        lambda _text: None,
        start=phases.start,
        load=loan.load if loan else None,
        read=loan.read if loan else None,
    )
    plan = recovery.plan
    timing = _timing(work, recovery, phases)
    if work.objective_share is not None:
        hours = (timing.rto_actual_s or 0) * work.objective_share / 3600
        target = target.model_copy(
            update={"objectives": target.objectives.model_copy(update={"rto_hours": hours})}
        )
    return DrillRecord(
        run_id=uuid.uuid4().hex[:12],
        started=work.now,
        disaster_at=work.now,
        scope=target.scope.value,
        target_name=target.name,
        target=target,
        provision="embedded",
        provision_reason="negative control",
        sandbox=recovery.sandbox,
        chosen_set=plan.chosen.id if plan.chosen else None,
        catalog=catalog,
        last_verified_set=work.last_verified,
        first_backup_at=None,
        offsite=None,
        sets=(recovery.chosen_facts,) if recovery.chosen_facts else (),
        restore=recovery.restore,
        content=recovery.reading.facts,
        role_differences=recovery.reading.role_differences,
        volumes=recovery.volumes,
        vault=recovery.vault,
        services=recovery.services,
        smoke=recovery.smoke,
        safety=SafetyFacts(
            source_identifier=plan.manifest.system_identifier if plan.manifest else None,
            source_killed=True,
            source_differences=None,
            backups_changed=state_changes(before, directory_state(work.backups)),
            sandbox_destroyed=False,
        ),
        timing=timing,
        not_required=not_required(target),
        encryption=recovery.encryption,
    )


def _timing(work: Workspace, recovery: Recovery, phases: PhaseClock) -> Timing:
    point = recovery.recovery_point
    return Timing(
        phases=phases.facts(),
        rto_actual_s=phases.total_s() if recovery.ready else None,
        verify_s=phases.seconds("verify"),
        rpo_actual_s=(work.now - point).total_seconds() if point else None,
        rpo_basis=recovery.recovery_point_basis,
        data_bytes=recovery.data_bytes,
    )


def _narrow_target(target: Target, scope: Scope) -> Target:
    if not scope.databases and not scope.volumes:
        return target
    named = set(scope.databases)
    return target.model_copy(
        update={
            "databases": tuple(item for item in target.databases if item.name in named),
            "volumes": tuple(name for name in target.volumes if name in scope.volumes),
            "vault": None,
            "services": tuple(item for item in target.services if item.kind != "vault"),
            "smoke": tuple(item for item in target.smoke if item.database in named),
            "references": tuple(
                item for item in target.references if item.database in named and item.volume in scope.volumes
            ),
        }
    )


def _narrow_catalog(catalog: Catalog, chosen: BackupSet | None, scope: Scope) -> Catalog:
    """Keep of the chosen set what is restored: what the inspection says of the rest is not judged here anyway."""
    if chosen is None or not (scope.databases or scope.volumes):
        return replace(catalog, sets=(chosen,) if chosen else ())
    always = {ArtifactKind.MANIFEST, ArtifactKind.SIGNATURE, ArtifactKind.GLOBALS}
    names = {*scope.databases, *scope.volumes}
    artifacts = tuple(
        item
        for item in chosen.artifacts
        if item.kind in always
        or names & {*item.databases, *item.volumes}
        or Path(item.path).name.partition(".")[0] in names
    )
    return replace(catalog, sets=(replace(chosen, artifacts=artifacts),))
