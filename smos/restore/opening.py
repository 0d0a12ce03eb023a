"""Makes a chosen backup set readable: every artifact judged, an encrypted one opened (see decrypt)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smos.backup.catalog import read_catalog
from smos.backup.inspect import inspect_set
from smos.backup.manifest import Manifest
from smos.backup.model import BackupSet, Catalog
from smos.backup.streams import StreamFault, detect_compression
from smos.checks.dr.integrity import judge_integrity
from smos.drill.globals import Globals, read_globals
from smos.drill.plan import RestorePlan, choose_set, is_encrypted, make_plan
from smos.drill.textdump import LimitError, Meter, read_text
from smos.errors import BackupError
from smos.provision.owner import Owner
from smos.target import Target
from smos.verdict import Verdict

NEVER = frozenset({"signature-invalid", "signature-missing"})
"""What no `--accept-differences` accepts."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A set that can be read. plan: over plain files. signature: as the inspection says; findings: what is wrong."""

    plan: RestorePlan
    manifest: Manifest
    signature: str
    globals_: Globals
    findings: tuple[str, ...]


def find_set(catalog: Catalog, name: str | None) -> BackupSet:
    """Return the set of this name, or the newest. Raises BackupError with what there is."""
    if not catalog.exists or not catalog.sets:
        raise BackupError(
            f"There is no backup set in {catalog.directory}", remedy="name the directory with --backups"
        )
    known = {item.id: item for item in catalog.sets}
    chosen = choose_set(catalog, None) if name is None else known.get(name)
    if chosen is None:
        raise BackupError(f"There is no set {name}", remedy="`smos backup list` shows them")
    return chosen


def open_set(
    directory: Path, name: str | None, target: Target, owner: Owner, say: Say, *, accept: bool
) -> Opened:
    """Read a whole set, judge it, and decrypt it where it is encrypted. Raises BackupError where it can't be used.

    accept: go on with a set that is damaged (never with a wrong signature).
    """
    catalog = read_catalog(directory, timezone=target.backups.schedule.timezone, volumes=target.volumes)
    chosen = find_set(catalog, name)
    plan = make_plan(catalog, chosen)
    if plan.manifest is None:
        why = plan.problem or "none is there"
        raise BackupError(
            f"{chosen.id} has no manifest of ours, so nothing says what must come back: {why}",
            remedy="`smos drill` restores and judges such sets in a sandbox; take backups with `smos backup create`",
        )
    manifest = plan.manifest
    if is_encrypted(plan):
        from smos.restore.decrypt import decrypt  # with Vault's clients: most sets need none

        plan, facts = decrypt(target, catalog, plan, owner, say)
    else:
        say(f"reading {chosen.id}: hashes and structure of every artifact")
        facts = inspect_set(catalog.directory, chosen, target=target)
    findings = [
        item for item in judge_integrity(target, [facts]).findings if item.verdict is not Verdict.PASS
    ]
    if findings and (not accept or any(item.code in NEVER for item in findings)):
        reasons = "; ".join(item.message for item in findings[:5])
        raise BackupError(f"{chosen.id} can't be trusted: {reasons}", remedy=findings[0].remedy)
    return Opened(
        plan=plan,
        manifest=manifest,
        signature=facts.signature,
        globals_=_globals(plan, target),
        findings=tuple(item.message for item in findings),
    )


def _globals(plan: RestorePlan, target: Target) -> Globals:
    path = plan.globals_path
    if path is None:
        return Globals()
    try:
        with path.open("rb") as file:
            compression = detect_compression(file.read(64))
        return read_globals(read_text(path, compression, target.limits, Meter()), plan.superuser)
    except (StreamFault, LimitError, OSError) as error:
        raise BackupError(f"{path.name} can't be read: {type(error).__name__}") from error
