"""The recovery itself: sandbox, Vault, databases, volumes, then the questions that show whether it is the same.

What can't be done is recorded as a fact of its own part; one part that fails does not stop the others.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from smos.backup.facts import SetFacts
from smos.backup.inspect import complete_names, inspect_set
from smos.backup.model import Catalog
from smos.backup.volumes import Restoration, VolumeFacts
from smos.drill.application import answer_services, ask_smoke, names_from_database
from smos.drill.content import ContentReading, ReadDatabase, read_and_compare
from smos.drill.keyring import KeyRing, decrypted_plan, encryption_facts, open_snapshot
from smos.drill.phases import PhaseClock
from smos.drill.plan import RestorePlan, derive_target, is_encrypted, make_plan, require_restored
from smos.drill.record import EncryptionFacts, ServiceFacts, SmokeFacts
from smos.drill.restore import RestoreFacts, make_durable, restore_set
from smos.drill.stack import Sandbox, start_sandbox
from smos.drill.volumes import restore_volumes, verify_volumes
from smos.errors import BackupError
from smos.postgres.content import DatabaseContent
from smos.provision.owner import Owner
from smos.target import Target
from smos.vault.facts import VaultFacts
from smos.vault.recovery import recover
from smos.vault.snapshot import read_canary
from smos.verdict import Problem

Report = Callable[[str], None]
Start = Callable[[Owner, RestorePlan, Target], Sandbox]
Load = Callable[[Target, RestorePlan, Sandbox, Owner, Report], RestoreFacts]
JOBS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What came back. ready: everything that the target declares answered in the sandbox.

    target, plan: with the names that only reading the set to its end tells. recovery_point: newest committed write
    that survived in the worst database (UTC); basis: how it is known. keys: opens the other sets as well.
    """

    target: Target
    plan: RestorePlan
    sandbox: str
    chosen_facts: SetFacts | None
    restore: RestoreFacts | None
    reading: ContentReading
    volumes: tuple[VolumeFacts, ...]
    vault: VaultFacts | None
    services: tuple[ServiceFacts, ...]
    smoke: tuple[SmokeFacts, ...]
    ready: bool
    recovery_point: datetime | None
    recovery_point_basis: str
    data_bytes: int
    encryption: EncryptionFacts | None
    keys: KeyRing


def recover_everything(
    target: Target,
    catalog: Catalog,
    plan: RestorePlan,
    owner: Owner,
    phases: PhaseClock,
    last_verified: Mapping[str, DatabaseContent],
    report: Report,
    *,
    start: Start = start_sandbox,
    load: Load | None = None,
    read: ReadDatabase | None = None,
) -> Recovery:
    """Recover all that the plan names into a fresh sandbox and record how it went.

    start: starts the sandbox; the negative controls keep hold of it, to strike it during the drill. load, read:
    restore its databases (default: `load_databases`) and read one of them; the negative controls keep what they give.

    Raises ProvisionError when the sandbox itself can't be started: then there is no drill.
    """
    with phases.phase("provision"):
        report("starting the sandbox")
        sandbox = start(owner, plan, target)
    ring = KeyRing(target.vault)
    chosen_facts, encryption, vault = None, None, None
    if is_encrypted(plan):
        plan, chosen_facts, vault, encryption = open_encrypted(
            target, catalog, plan, sandbox, owner, phases, ring, report
        )
        if target.derived:
            target = derive_target(catalog.directory, catalog)
    else:
        if plan.chosen is not None:
            with phases.phase("fetch"):
                report(f"reading {plan.chosen.id}: hashes and structure of every artifact")
                chosen_facts = inspect_set(catalog.directory, plan.chosen, target=target)
                # Only now is it known what is inside a dump or an archive of several.
                catalog = complete_names(catalog, (chosen_facts,))
                plan = make_plan(catalog, next(item for item in catalog.sets if item.id == plan.chosen.id))
                if target.derived:
                    target = derive_target(catalog.directory, catalog)
        vault = _vault(target, plan, sandbox, phases, report)
        phases.exclude("decrypt", "the backups are not encrypted")
    not_decrypted = encryption.reason if encryption else ""
    restore = None
    destination = owner.directory("volumes")
    with ExitStack() as stack:
        restorations: list[Restoration] = []
        if not_decrypted:
            phases.exclude("restore", f"the backups were not decrypted: {not_decrypted}")
        elif plan.chosen is not None:
            with phases.phase("restore"), ThreadPoolExecutor(1) as pool:
                report(f"restoring {len(plan.dumps)} dumps and {len(plan.volumes)} volumes")
                loading = (
                    pool.submit(load or load_databases, target, plan, sandbox, owner, report)
                    if plan.dumps
                    else None
                )
                try:
                    restorations = restore_volumes(plan.volumes, destination, target.limits, stack)
                except BaseException:
                    sandbox.postgres.kill()  # else leaving the pool would wait for the load to end
                    raise
                restore = loading.result() if loading else None
        target = require_restored(target, (item.name for item in restore.databases) if restore else ())
        with phases.phase("verify"):
            report("comparing what came back with what the manifest promises")
            reading = read_and_compare(sandbox.postgres, plan, restore, last_verified, JOBS, read=read)
            volumes = verify_volumes(
                restorations,
                destination,
                target,
                plan.manifest,
                partial(
                    names_from_database,
                    sandbox.postgres.endpoint,
                    restore.sandbox.reader if restore else None,
                ),
            )
    with phases.phase("ready"):
        report("asking the application's questions")
        services = answer_services(target, sandbox.postgres.endpoint, vault, not_decrypted)
        smoke = ask_smoke(sandbox.postgres.endpoint, target, restore.sandbox.reader if restore else None)
    point, basis = _recovery_point(target, plan, reading, vault)
    return Recovery(
        target=target,
        plan=plan,
        sandbox=sandbox.isolation,
        chosen_facts=chosen_facts,
        restore=restore,
        reading=reading,
        volumes=volumes,
        vault=vault,
        services=services,
        smoke=smoke,
        ready=_is_ready(target, chosen_facts, restore, volumes, vault, services, smoke),
        recovery_point=point,
        recovery_point_basis=basis,
        data_bytes=reading.data_bytes + sum(volume.bytes for volume in volumes),
        encryption=encryption,
        keys=ring,
    )


def open_encrypted(
    target: Target,
    catalog: Catalog,
    plan: RestorePlan,
    sandbox: Sandbox,
    owner: Owner,
    phases: PhaseClock,
    ring: KeyRing,
    report: Report,
) -> tuple[RestorePlan, SetFacts | None, VaultFacts | None, EncryptionFacts | None]:
    """Bring Vault back from what the escrow alone opens; then open the rest, in one reading, with the unwrapped key."""
    manifest, chosen = plan.manifest, plan.chosen
    assert manifest is not None and chosen is not None  # noqa: S101, PT018  (the caller asked)
    private = owner.directory("decrypted")
    with phases.phase("fetch"):
        report(f"reading {chosen.id}: Vault's snapshot, which the escrow opens")
        plan, known, closed = open_snapshot(catalog, plan, target, ring, private)
    if closed is not None:
        phases.exclude("vault", "its snapshot could not be opened")
        vault: VaultFacts | None = closed
    else:
        vault = _vault(target, plan, sandbox, phases, report)
    if vault is not None and vault.unsealed and sandbox.vault is not None:
        ring.connect(sandbox.vault.endpoint)
    keys = ring.keys_of(manifest)
    if keys.data_key is None:
        phases.exclude("decrypt", keys.no_data_key)
    with phases.phase("decrypt" if keys.data_key is not None else "fetch"):
        report(f"reading {chosen.id}: hashes, decryption and structure of every artifact")
        facts = inspect_set(
            catalog.directory,
            chosen,
            target=target,
            keys_of=ring.keys_of,
            copy_to=private,
            known=known,
        )
        plan, files = decrypted_plan(plan, facts, private, target)
    return plan, facts, vault, encryption_facts(plan, keys, files)


def load_databases(
    target: Target, plan: RestorePlan, sandbox: Sandbox, owner: Owner, report: Report
) -> RestoreFacts:
    """Restore the plan's dumps into the sandbox and put it on disk."""
    facts = restore_set(
        sandbox.postgres,
        plan.dumps,
        plan.globals_path,
        limits=target.limits,
        jobs=JOBS,
        scratch=owner.directory("scratch"),
        progress=report,
        source_identifier=plan.manifest.system_identifier if plan.manifest else None,
        superuser=plan.superuser,
    )
    if (
        facts.databases
    ):  # nothing was restored into a server that was refused: it may be anybody's, and is left alone
        make_durable(sandbox.postgres)
    return facts


def _vault(
    target: Target, plan: RestorePlan, sandbox: Sandbox, phases: PhaseClock, report: Report
) -> VaultFacts | None:
    if target.vault is None:
        phases.exclude("vault", "the target declares no Vault")
        return None
    if plan.vault_snapshot is None or sandbox.vault is None:
        phases.exclude("vault", "the set holds no Vault snapshot")
        return None
    with phases.phase("vault"):
        report("bringing Vault back: snapshot, key shares, logins, old ciphertext")
        facts = recover(
            sandbox.vault,
            snapshot=plan.vault_snapshot,
            canary=plan.vault_canary,
            escrow=target.vault.escrow,
            target=target.vault,
            prepared=sandbox.vault_ready.result() if sandbox.vault_ready else None,
        )
        return replace(facts, problems=(*facts.problems, *_contradictions(plan)))


def _contradictions(plan: RestorePlan) -> tuple[Problem, ...]:
    """Hold the canary's catalogue against the manifest's: an emptied one would be equal to anything."""
    if plan.manifest is None or plan.manifest.vault is None or plan.vault_canary is None:
        return ()
    try:
        catalog = read_canary(plan.vault_canary).catalog
    except BackupError:
        return ()  # `recover` has recorded that it can't be read
    promised = plan.manifest.vault
    if set(promised.policies) == set(catalog.policies) and set(promised.auth_roles) == set(
        catalog.auth_roles
    ):
        return ()
    return (Problem("canary-contradicts-manifest", "their lists of names differ"),)


def _recovery_point(
    target: Target, plan: RestorePlan, reading: ContentReading, vault: VaultFacts | None
) -> tuple[datetime | None, str]:
    """Return the worst part's point; without a heartbeat, the start of its dump bounds what is lost from above."""
    if plan.chosen is None:
        return None, "none"
    # A snapshot later than its set's end would claim that less is lost than is: the set's own time bounds it then.
    manifest = plan.manifest
    snapshots = (
        {item.name: item.snapshot_at for item in manifest.databases if item.snapshot_at <= manifest.finished}
        if manifest
        else {}
    )
    points: list[tuple[datetime, str]] = []
    for name in target.database_names:
        beat = reading.heartbeats.get(name)
        bound = snapshots.get(name) or plan.chosen.stamp
        if name not in reading.restored or (beat is None and bound is None):
            return None, "none"
        if beat is not None:
            points.append((beat, "heartbeat"))
        elif bound is not None:
            points.append((bound, "dump-start upper bound"))
    if vault is not None and vault.taken_at is not None:
        points.append((vault.taken_at, "Vault snapshot"))
    if not points and plan.chosen.stamp:
        points.append((plan.chosen.stamp, "dump-start upper bound"))
    return min(points) if points else (None, "none")


def _is_ready(
    target: Target,
    chosen_facts: SetFacts | None,
    restore: RestoreFacts | None,
    volumes: tuple[VolumeFacts, ...],
    vault: VaultFacts | None,
    services: tuple[ServiceFacts, ...],
    smoke: tuple[SmokeFacts, ...],
) -> bool:
    """Tell whether the application could be let in: all that is declared came back and answers.

    Whether the content is the right one is for the checks to say; a sandbox that serves wrong answers to the
    declared questions is not ready. Where nobody declared what must come back, all that the set holds must.
    """
    if target.derived and (chosen_facts is None or any(item.problems for item in chosen_facts.artifacts)):
        return False
    databases = {item.name for item in restore.databases if item.restored} if restore else set()
    back = {volume.name for volume in volumes if volume.restored}
    return (
        bool(target.databases or target.volumes or target.vault)
        and databases.issuperset(target.database_names)
        and back.issuperset(target.volumes)
        and (target.vault is None or (vault is not None and vault.unsealed))
        and all(service.healthy for service in services if service.kind in {"postgres", "vault"})
        and all(question.answer == question.expected for question in smoke)
    )
