"""From command-line words to a target and its backup sets, and what is shown of them."""

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smos.backup.model import BackupSet, Catalog
    from smos.backup.verified import Verification
    from smos.target import Target


class Found:
    """The target and what lies in its directory."""

    def __init__(self, target: "Target", catalog: "Catalog", keep_days: float) -> None:
        self.target, self.catalog, self.keep_days = target, catalog, keep_days


def home_directory() -> Path:
    """Return the directory of the configuration."""
    from smos.config.store import home

    return home(os.environ)


def target_file(named: Path | None) -> Path | None:
    """Return the target file that is meant: the one named, the configuration's, or smos.yml here."""
    from smos.config.store import Config

    if named is not None:
        return named
    configured = Config(home_directory(), os.environ).value("target")
    if configured:
        return Path(configured).expanduser()
    return Path("smos.yml") if Path("smos.yml").is_file() else None


def configured_directory() -> Path | None:
    """Return the configuration's backup directory."""
    from smos.config.store import Config

    named = Config(home_directory(), os.environ).value("backups.directory")
    return Path(named).expanduser() if named else None


def no_directory() -> Exception:
    """Return the error where nobody named a backup directory."""
    from smos.errors import TargetError

    return TargetError(
        "No backup directory is named",
        remedy="give --backups DIR or --target FILE, or: smos config set backups.directory DIR",
    )


def find(target: Path | None, backups: Path | None, *, escrow: Path | None = None) -> Found:
    """Return the target and its catalogue. Raises TargetError where no directory is named."""
    from smos.backup.catalog import read_catalog
    from smos.config.store import Config
    from smos.drill.plan import derive_target
    from smos.target import VaultTarget, load_target

    named = None if backups is not None and target is None else target_file(target)
    keep: float
    if named is not None:
        declared = load_target(named)
        directory = backups or declared.backups.directory
        keep = declared.backups.schedule.retention_days
    else:
        declared, directory = None, backups or configured_directory()
        keep = float(Config(home_directory(), os.environ).value("backups.keep_days"))
    if directory is None:
        raise no_directory()
    directory = directory.expanduser()
    zone = declared.backups.schedule.timezone if declared else "UTC"
    catalog = read_catalog(directory, timezone=zone, volumes=declared.volumes if declared else ())
    meant = declared or derive_target(directory, catalog)
    if escrow is not None:
        vault = (meant.vault or VaultTarget()).model_copy(update={"escrow": escrow})
        meant = meant.model_copy(update={"vault": vault})
    return Found(meant, catalog, keep)


def verified_sets(found: Found, reports: Path, read: Any) -> "dict[str, Verification]":
    """Return the sets that a drill of this target has shown to restore."""
    from smos.backup.verified import verifications

    return verifications(read(reports), found.target.name)


def set_document(
    item: "BackupSet", catalog: "Catalog", verified: "dict[str, Verification]"
) -> dict[str, Any]:
    """Return what is shown of a set."""
    from smos.backup.manifest import read_manifest
    from smos.errors import BackupError

    encrypted: bool | None = None
    databases, volumes = list(item.databases), list(item.volumes)
    if item.manifested:
        try:
            manifest = read_manifest(catalog.directory / item.id)
        except BackupError:
            manifest = None
        if manifest is not None:
            encrypted = manifest.encryption is not None
            databases = [entry.name for entry in manifest.databases]
            volumes = [entry.name for entry in manifest.volumes]
    if encrypted is None:
        encrypted = bool(item.artifacts) and all(artifact.encryption for artifact in item.artifacts)
    proof = verified.get(item.id)
    return {
        "set": item.id,
        "taken": item.stamp.isoformat() if item.stamp else None,
        "databases": databases,
        "volumes": volumes,
        "vault": item.vault,
        "bytes": item.stored_bytes,
        "encrypted": encrypted,
        "signed": item.signed,
        "manifest": item.manifested,
        "verified": proof is not None,
        "verified_at": proof.at.isoformat() if proof else None,
        "verified_by": proof.run_id if proof else None,
        "problems": [{"code": problem.code, "detail": problem.detail} for problem in item.problems],
    }


def set_row(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a set as a row of the table."""
    holds = [*row["databases"], *row["volumes"], *(["Vault"] if row["vault"] else [])]
    taken = datetime.fromisoformat(row["taken"]).strftime("%Y-%m-%d %H:%M") if row["taken"] else "unknown"
    proof = (
        f"{row['verified_at'][:16].replace('T', ' ')} ({row['verified_by']})" if row["verified"] else "never"
    )
    return (
        row["set"],
        taken,
        _size(row["bytes"]),
        ", ".join(holds) or "nothing",
        "yes" if row["encrypted"] else "no",
        "yes" if row["signed"] else "no",
        proof,
    )


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError("unreachable")
