"""One drill from end to end: prepare, declare a disaster, recover, compare, prove that nothing else was touched.

Everything here records; nothing concludes. The phases that count for RTO run between `disaster_at` and `ready`;
what only an exercise needs (inspecting older sets, proving the source unchanged) comes after the clock has stopped.
"""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import psycopg

from smos.backup.catalog import read_catalog
from smos.backup.facts import SetFacts
from smos.backup.inspect import complete_names, inspect_set
from smos.backup.model import BackupSet, Catalog
from smos.backup.state import OffsiteFacts, compare_offsite, directory_state, state_changes
from smos.checks.dr import not_required
from smos.clock import Clock, SystemClock
from smos.drill import baseline
from smos.drill.asked import effective_target
from smos.drill.phases import PhaseClock, Timing
from smos.drill.plan import RestorePlan, choose_set, make_plan
from smos.drill.record import DrillRecord, SafetyFacts, save
from smos.drill.recover import Recovery, recover_everything
from smos.drill.stack import start_sandbox
from smos.live.production import Production, open_production
from smos.postgres.compare import compare_content
from smos.postgres.content import DatabaseContent
from smos.postgres.difference import Difference
from smos.postgres.fingerprint import read_content
from smos.provision.owner import Owner
from smos.provision.servers import Servers, servers_for
from smos.selftest.source import SelfTestSource, start_source
from smos.target import Provision, Settings, Target

Report = Callable[[str], None]


def run_drill(settings: Settings, run_dir: Path, reporter: Report, *, clock: Clock | None = None) -> None:
    """Run the drill that `settings` asks for and write `<run_dir>/drill.json`.

    Raises SmosError when no drill is possible at all (for example: no sandbox can be started).
    """
    clock = clock or SystemClock()
    servers = servers_for(settings.provision, sockets=True)
    with Owner("drill") as owner:
        source: SelfTestSource | None = None
        target = effective_target(settings)
        production = open_production(settings, target, owner, clock, reporter)
        if production is not None and production.directory is not None:
            backups = target.backups.model_copy(update={"directory": production.directory})
            target = target.model_copy(update={"backups": backups})
        elif target.backups.directory is None:
            source = start_source(owner, clock, reporter, servers=servers)
            target = source.target
        record = _drill(settings, servers, target, source, production, owner, run_dir, clock, reporter)
    record = replace(record, safety=replace(record.safety, sandbox_destroyed=not owner.run_dir.exists()))
    save(record, run_dir / "drill.json")


def _drill(
    settings: Settings,
    servers: Servers,
    target: Target,
    source: SelfTestSource | None,
    production: Production | None,
    owner: Owner,
    run_dir: Path,
    clock: Clock,
    report: Report,
) -> DrillRecord:
    directory = target.backups.directory
    assert directory is not None  # noqa: S101  (the caller made sure; narrows the type)
    # A provisioned source is a new one in every run: what an earlier drill saw says nothing about it.
    known = None if source else baseline.read_baseline(settings.reports, target.name)
    before_files = directory_state(directory)
    before_content = _source_content(source) if source else None
    if production is not None:
        production.look()
    if source:
        source.postgres.kill()
        source.vault.kill()

    disaster_at = clock.now()
    phases = PhaseClock()
    report("disaster declared")
    if production is not None and production.directory is not None:
        with phases.phase("detect"):
            production.list()
        with phases.phase("fetch"):
            production.fetch(disaster_at)
        before_files = directory_state(directory)
    with phases.phase("detect"):
        catalog = read_catalog(directory, timezone=target.backups.schedule.timezone, volumes=target.volumes)
        plan = make_plan(catalog, choose_set(catalog, disaster_at))
        report(f"restoring {plan.chosen.id if plan.chosen else 'nothing: there is no backup set'}")
    recovery = recover_everything(
        target,
        catalog,
        plan,
        owner,
        phases,
        known.content() if known else {},
        report,
        start=partial(start_sandbox, servers=servers),
    )
    rto_actual_s = phases.total_s() if recovery.ready else None
    target, plan = recovery.target, recovery.plan

    earlier: tuple[str, ...] = ()
    if production is not None:
        if production.directory is not None:
            earlier = state_changes(before_files, directory_state(directory))
        production.afterwards()
        if production.directory is not None:
            catalog = read_catalog(
                directory, timezone=target.backups.schedule.timezone, volumes=target.volumes
            )
            before_files = directory_state(directory)

    if source is None and plan.chosen is not None and recovery.reading.contents:
        baseline.write_candidate(run_dir, plan.chosen.id, _oldest(catalog), recovery.reading.contents)

    report("after the clock: inspecting the other backup sets, proving source and backups unchanged")
    sets = _inspect_others(target, catalog, plan, recovery)
    catalog = complete_names(catalog, sets)
    offsite = _offsite(target, catalog)
    differences = _source_differences(source, before_content)
    changed = (*earlier, *state_changes(before_files, directory_state(directory)))
    fetched = production.facts.fetch if production else None
    timing = Timing(
        phases=phases.facts(),
        rto_actual_s=rto_actual_s,
        verify_s=phases.seconds("verify"),
        rpo_actual_s=(disaster_at - recovery.recovery_point).total_seconds()
        if recovery.recovery_point
        else None,
        rpo_basis=recovery.recovery_point_basis,
        data_bytes=recovery.data_bytes,
        fetched_bytes=fetched.newest_bytes if fetched else None,
        fetch_bytes_per_s=fetched.bytes_per_s if fetched else None,
    )
    return DrillRecord(
        run_id=uuid.uuid4().hex[:12],
        started=disaster_at,
        disaster_at=disaster_at,
        scope=target.scope.value,
        target_name=target.name,
        target=target,
        provision="live" if production else servers.name,
        provision_reason=_why(settings, live=production is not None),
        sandbox=recovery.sandbox,
        chosen_set=plan.chosen.id if plan.chosen else None,
        catalog=catalog,
        last_verified_set=known.set_id if known else None,
        first_backup_at=known.first_backup_at if known else None,
        offsite=offsite,
        sets=sets,
        restore=recovery.restore,
        content=recovery.reading.facts,
        role_differences=recovery.reading.role_differences,
        volumes=recovery.volumes,
        vault=recovery.vault,
        services=production.services(recovery.services) if production else recovery.services,
        smoke=recovery.smoke,
        safety=SafetyFacts(
            source_identifier=plan.manifest.system_identifier if plan.manifest else None,
            source_killed=source is not None,
            source_differences=differences,
            backups_changed=changed,
            sandbox_destroyed=False,
        ),
        timing=timing,
        not_required=not_required(target),
        encryption=recovery.encryption,
        live=production.facts if production else None,
    )


def _why(settings: Settings, *, live: bool) -> str:
    if settings.provision is Provision.DOCKER:
        from smos.provision.docker.catalogue import recorded

        return recorded()
    if settings.provision is not Provision.AUTO:
        return "asked for"
    return "auto: the target names production" if live else "auto: real servers from wheels"


def _oldest(catalog: Catalog) -> datetime | None:
    return min((item.stamp for item in catalog.sets if item.stamp), default=None)


def _offsite(target: Target, catalog: Catalog) -> OffsiteFacts | None:
    if target.backups.offsite is None:
        return None
    artifacts = tuple(artifact.path for item in catalog.sets for artifact in item.artifacts)
    return compare_offsite(catalog.directory, target.backups.offsite, artifacts)


def _source_content(source: SelfTestSource) -> dict[str, DatabaseContent]:
    def read(name: str) -> tuple[str, DatabaseContent]:
        return name, read_content(
            lambda: psycopg.connect(source.postgres.endpoint.conninfo(name)), snapshot=None, jobs=1
        )

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(read, source.target.database_names))


def _source_differences(
    source: SelfTestSource | None, before: dict[str, DatabaseContent] | None
) -> tuple[Difference, ...] | None:
    """Bring the killed source back and compare what it holds with what it held when it was killed."""
    if source is None or before is None:
        return None
    source.postgres.start()
    after = _source_content(source)
    return tuple(
        difference
        for name, content in before.items()
        for difference in compare_content(content, after[name], same_major=True)
    )


def _inspect_others(
    target: Target, catalog: Catalog, plan: RestorePlan, recovery: Recovery
) -> tuple[SetFacts, ...]:
    """Inspect the sets that were not restored; the chosen one was inspected while it was read."""

    def inspect(item: BackupSet) -> SetFacts:
        if recovery.chosen_facts is not None and plan.chosen is not None and item.id == plan.chosen.id:
            return recovery.chosen_facts
        return inspect_set(catalog.directory, item, target=target, keys_of=recovery.keys.keys_of)

    with ThreadPoolExecutor(2) as pool:
        return tuple(pool.map(inspect, catalog.sets))
