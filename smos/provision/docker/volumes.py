"""Backs a container's volume up, and restores one: a helper container does it beside the mounted volume.

The archive is the backup's own format (smos/backup/archive.py): bytes, owners, modes, times, holes, hard links,
extended attributes with file capabilities and ACLs (`trusted.*` apart: only CAP_SYS_ADMIN sees those, and no container
that lacks it can have made them). To be read, the volume is mounted read-only; the helper has no network, and of the
capabilities only those that files need. Nobody needs rights on the engine's own directories.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import smos
from smos.backup.archive import VolumeSummary
from smos.backup.layout import volume_bytes
from smos.errors import BackupError, ProvisionError
from smos.provision.docker.catalogue import image_of
from smos.provision.docker.containers import Containers, Place
from smos.target import Limits
from smos.verdict import Problem

HELPER = "smos.provision.docker.volumehelper"
SOURCES, WHEELS = "/helper", "/opt/wheels"
TO_READ = ("CHOWN", "DAC_READ_SEARCH", "DAC_OVERRIDE", "FOWNER")
"""Reading what nobody else may read without moving its access time; giving the archive to whoever asked for it."""
TO_WRITE = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
LIMIT_S = 4 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredVolume:
    """What a restore left in a volume, read back there. differences: of what and how many; empty when equal.

    Sizes in bytes, seconds of the extraction alone.
    """

    name: str
    files: int
    bytes: int
    seconds: float
    differences: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def equal(self) -> bool:
        """Whether everything is there as it was archived."""
        return not self.differences and not self.problems


def backup_volume(
    containers: Containers,
    volume: str,
    destination: Path,
    *,
    name: str | None = None,
    timeout_s: float = LIMIT_S,
) -> VolumeSummary:
    """Archive the volume into `destination`/NAME.tar.zst and its list NAME.jsonl.zst.

    name: of the archive (default: the volume's). Raises BackupError.
    """
    name = name or volume
    volume_bytes(name)
    answer = _help(
        containers,
        ["archive", name, containers.user],
        volume="/volume:ro",
        of=volume,
        files=Place(outside=destination, inside="/files"),
        capabilities=TO_READ,
        timeout_s=timeout_s,
    )
    problems = tuple(Problem(item["code"], item["detail"]) for item in answer.pop("problems"))
    return VolumeSummary(**answer, problems=problems)


def restore_volume(
    containers: Containers,
    archive: Path,
    volume: str,
    *,
    name: str | None = None,
    limits: Limits | None = None,
    timeout_s: float = LIMIT_S,
) -> RestoredVolume:
    """Restore `archive` (its list beside it) into an empty volume, and compare what lies there then.

    What is wrong with the archive becomes problems. Raises BackupError when the helper itself fails.
    """
    name = name or archive.name.removesuffix(".tar.zst")
    volume_bytes(name)
    answer = _help(
        containers,
        ["restore", name, (limits or Limits()).model_dump_json()],
        volume="/volume",
        of=volume,
        files=Place(outside=archive.parent, inside="/files", read_only=True),
        capabilities=TO_WRITE,
        timeout_s=timeout_s,
    )
    return RestoredVolume(
        name=name,
        files=int(answer.get("files", 0)),
        bytes=int(answer.get("bytes", 0)),
        seconds=float(answer.get("seconds", 0.0)),
        differences=tuple(f"{item['kind']}: {item['detail']}" for item in answer["differences"]),
        problems=tuple(Problem(code, detail) for code, detail in answer["problems"]),
    )


def _help(
    containers: Containers,
    words: list[str],
    *,
    volume: str,
    of: str,
    files: Place,
    capabilities: tuple[str, ...],
    timeout_s: float,
) -> dict[str, Any]:
    package = Path(smos.__file__).parent
    try:
        output = containers.call(
            image_of("harness"),
            ["python3", "-m", HELPER, *words],
            name="volume-helper",
            timeout_s=timeout_s,
            volumes={of: volume},
            places=[files, Place(outside=package, inside=f"{SOURCES}/smos", read_only=True)],
            env={"PYTHONPATH": f"{SOURCES}:{WHEELS}", "PYTHONDONTWRITEBYTECODE": "1"},
            user="0:0",
            capabilities=capabilities,
        )
        answer = json.loads(output.splitlines()[-1])
    except (ProvisionError, ValueError, IndexError) as error:
        remedy = getattr(error, "remedy", "") or "look at the engine's log"
        raise BackupError(f"The volume's helper failed: {error}", remedy=remedy) from error
    return dict(answer)
