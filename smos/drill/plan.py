"""Before a drill: what a directory asks for, which backup set is restored, which of its files serve for what."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from smos.backup.manifest import Manifest, read_manifest
from smos.backup.model import Artifact, ArtifactKind, BackupSet, Catalog
from smos.drill.globals import SUPERUSER
from smos.drill.restore import DumpSource
from smos.drill.sandbox import SYSTEM_DATABASES
from smos.errors import BackupError
from smos.target import Backups, Database, Scope, Target, VaultTarget

FUTURE_TOLERANCE = timedelta(minutes=10)
"""Clocks differ; a stamp further ahead than this is not believed."""

DUMPS = {
    ArtifactKind.PG_DUMP_PLAIN,
    ArtifactKind.PG_DUMPALL,
    ArtifactKind.PG_DUMP_CUSTOM,
    ArtifactKind.PG_DUMP_TAR,
    ArtifactKind.PG_DUMP_DIRECTORY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSource:
    """Where one volume's content lies. entries: our list of its entries, None where nobody made one."""

    name: str
    archive: Path
    compression: str
    entries: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """The chosen set, and its files by purpose. problem: why its manifest can't be used, empty when it can."""

    chosen: BackupSet | None
    manifest: Manifest | None
    problem: str
    dumps: tuple[DumpSource, ...]
    globals_path: Path | None
    volumes: tuple[VolumeSource, ...]
    vault_snapshot: Path | None
    vault_canary: Path | None

    @property
    def superuser(self) -> str:
        """The role that initdb made in the source; its usual name where no manifest tells."""
        roles = self.manifest.roles.get("roles") if self.manifest else None
        named = roles.items() if isinstance(roles, dict) else ()
        return next(
            (name for name, role in named if isinstance(role, dict) and role.get("bootstrap")), SUPERUSER
        )


def is_encrypted(plan: RestorePlan) -> bool:
    """Tell whether the chosen set is encrypted, by its manifest."""
    return plan.manifest is not None and plan.manifest.encryption is not None


def derive_target(directory: Path, catalog: Catalog) -> Target:
    """Return a target that asks for what the newest set holds, as far as `catalog` knows it."""
    newest = choose_set(catalog, None)
    return Target(
        name=f"directory {directory.name}",
        scope=Scope.PRODUCTION,
        backups=Backups(directory=directory),
        # Every pg_dumpall speaks of the maintenance databases; `require_restored` adds them where they held something.
        databases=_databases(set(newest.databases if newest else ()) - set(SYSTEM_DATABASES)),
        volumes=newest.volumes if newest else (),
        vault=VaultTarget() if newest and newest.vault else None,
        derived=True,
    )


def require_restored(target: Target, names: Iterable[str]) -> Target:
    """Return a derived target that also asks for what the restore found; a declared one stays as it is."""
    if not target.derived:
        return target
    return target.model_copy(update={"databases": _databases({*target.database_names, *names})})


def _databases(names: Iterable[str]) -> tuple[Database, ...]:
    return tuple(Database(name=name) for name in sorted(set(names)))


def choose_set(catalog: Catalog, now: datetime | None) -> BackupSet | None:
    """Return the newest set whose stamp is not in the future; the last one where no stamp can be believed.

    A drill restores the newest set and no other: falling back to an older one would hide that the newest is bad.
    """
    credible = [
        item
        for item in catalog.sets
        if item.stamp is not None and (now is None or item.stamp <= now + FUTURE_TOLERANCE)
    ]
    if credible:
        return credible[-1]
    return catalog.sets[-1] if catalog.sets else None


def make_plan(catalog: Catalog, chosen: BackupSet | None) -> RestorePlan:
    """Sort the chosen set's artifacts by purpose; of what is encrypted, only Vault's snapshot is named."""
    if chosen is None:
        return RestorePlan(
            chosen=None, manifest=None, problem="there is no backup set", dumps=(), globals_path=None, volumes=(),
            vault_snapshot=None, vault_canary=None,
        )  # fmt: skip
    base = catalog.directory
    manifest, problem = None, ""
    if chosen.manifested:
        try:
            manifest = read_manifest(base / chosen.id)
        except BackupError as error:
            problem = error.message
    by_kind: dict[ArtifactKind, list[Artifact]] = {}
    for artifact in chosen.artifacts:
        if not artifact.encryption or artifact.kind is ArtifactKind.VAULT_SNAPSHOT:
            by_kind.setdefault(artifact.kind, []).append(artifact)

    def first(kind: ArtifactKind) -> Path | None:
        found = by_kind.get(kind, [])
        return base / found[0].path if found else None

    dumps = tuple(
        DumpSource(
            database=artifact.databases[0]
            if len(artifact.databases) == 1 and artifact.kind is not ArtifactKind.PG_DUMPALL
            else None,
            kind=artifact.kind,
            path=base / artifact.path,
            compression=artifact.compression,
        )
        for artifact in chosen.artifacts
        if artifact.kind in DUMPS and not artifact.encryption
    )
    return RestorePlan(
        chosen=chosen,
        manifest=manifest,
        problem=problem,
        dumps=dumps,
        globals_path=first(ArtifactKind.GLOBALS),
        volumes=tuple(_volumes(base, by_kind)),
        vault_snapshot=first(ArtifactKind.VAULT_SNAPSHOT),
        vault_canary=first(ArtifactKind.VAULT_CANARY),
    )


def _volumes(base: Path, by_kind: dict[ArtifactKind, list[Artifact]]) -> list[VolumeSource]:
    entries = {
        Path(artifact.path).name.removesuffix(".jsonl.zst"): base / artifact.path
        for artifact in by_kind.get(ArtifactKind.VOLUME_ENTRIES, [])
    }
    return [
        VolumeSource(
            name=name,
            archive=base / artifact.path,
            compression=artifact.compression,
            entries=entries.get(name),
        )
        for artifact in by_kind.get(ArtifactKind.VOLUME_ARCHIVE, [])
        for name in artifact.volumes
    ]
