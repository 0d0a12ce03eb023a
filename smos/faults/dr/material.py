"""What faults are injected into: the built-in source's week of backups, made once and copied for every fault."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from smos.clock import Clock
from smos.provision.owner import Owner
from smos.selftest.source import start_source
from smos.target import Target

FILE_NAME = "material.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Backups, keys and escrow in `directory`; the source that made them is gone.

    target: complete, its paths below `directory`. now: just after the newest backup, UTC: the moment of every
    disaster, so that no fault depends on how long a run takes.
    """

    directory: Path
    target: Target
    signing_key: Path
    now: datetime

    @property
    def backups(self) -> Path:
        """The pristine backup directory. Nothing may write here."""
        return self.directory / "backups"


_ADAPTER = TypeAdapter(Material)


def prepare(directory: Path, clock: Clock, report: Callable[[str], None]) -> Material:
    """Run the built-in source, back it up for a week, keep backups, keys and escrow in `directory`.

    Raises SmosError when the source can't be started.
    """
    with Owner("fault-material") as owner:
        # In plain text, so that faults can reach into it; those of encryption put it into envelopes themselves.
        source = start_source(owner, clock, report, encrypted=False)
        made = source.signing_key.parent.parent
        for name in ("backups", "keys", "escrow"):
            shutil.copytree(made / name, directory / name, symlinks=True)
        target = source.target
        if target.vault is None:
            raise RuntimeError("the built-in target declares no Vault")
        material = Material(
            directory=directory,
            target=target.model_copy(
                update={
                    "backups": target.backups.model_copy(
                        update={
                            "directory": directory / "backups",
                            "manifest_public_key": directory / "keys" / "backup-signing.pub",
                        }
                    ),
                    "vault": target.vault.model_copy(update={"escrow": directory / "escrow" / "escrow.json"}),
                }
            ),
            signing_key=directory / "keys" / source.signing_key.name,
            now=clock.now(),
        )
    partial = directory / f"{FILE_NAME}.partial"
    partial.write_bytes(_ADAPTER.dump_json(material, by_alias=True))
    partial.rename(directory / FILE_NAME)
    return material


def load(directory: Path) -> Material | None:
    """Return the material that was prepared in `directory`; None when there is none."""
    path = directory / FILE_NAME
    return _ADAPTER.validate_json(path.read_bytes()) if path.exists() else None
