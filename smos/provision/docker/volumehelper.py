"""Runs inside of a helper container, beside one mounted volume: archives it, or restores into it and compares.

    python -m smos.provision.docker.volumehelper archive NAME UID:GID
    python -m smos.provision.docker.volumehelper restore NAME

The volume is at VOLUME (read-only to archive), the two files of the archive at FILES. The last line of its output is
JSON: numbers, codes and digests, never a name of what the volume holds. The code is the backup's own, so an archive of
a container's volume is an archive like any other.
"""

import json
import os
import stat
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smos.backup.archive import create_volume_archive
from smos.backup.entries import compare_entries, read_entries
from smos.backup.extract import extract_archive
from smos.backup.layout import Layout
from smos.backup.ledger import Ledger
from smos.backup.tree import read_tree
from smos.backup.xattrs import read_xattrs, set_xattr
from smos.target import Limits

VOLUME, FILES = Path("/volume"), Path("/files")
STAGING = ".smos-restore"
"""Lies in the volume while it is restored, so that nothing is copied twice; a volume with it was not restored whole."""


def archive(name: str, owner: str) -> dict[str, Any]:
    """Archive the volume; the two files get this owner. Raises BackupError."""
    places = FILES / f"{name}.tar.zst", FILES / f"{name}.jsonl.zst"
    summary = create_volume_archive(VOLUME, name, *places)
    uid, gid = map(int, owner.split(":"))
    for place in places:
        os.chown(place, uid, gid)
    return asdict(summary)


def restore(name: str, limits: Limits) -> dict[str, Any]:
    """Restore into the empty volume and compare what lies there then with the archive's list."""
    if any(VOLUME.iterdir()):
        return {"problems": [["volume-not-empty", "the volume holds something already"]], "differences": []}
    place, listed = FILES / f"{name}.tar.zst", FILES / f"{name}.jsonl.zst"
    staging = VOLUME / STAGING
    ledger = Ledger()
    try:
        facts = extract_archive(
            place, staging, volumes=(name,), limits=limits, layout=Layout.ROOT, ledger=ledger
        )
        problems = [[item.code, item.detail] for item in facts.problems]
        problems += [
            ["attribute-not-restored", f"{gap.attribute}: {gap.reason}"] for gap in facts.attribute_gaps
        ]
        if not facts.complete:
            return {"problems": problems or [["incomplete", "the archive has no end"]], "differences": []}
        _move_up(staging / name)
        actual = list(read_tree(VOLUME))
        found = compare_entries(read_entries(listed, name), iter(actual))
        return {
            "problems": problems,
            "differences": [asdict(item) for item in found],
            "files": facts.files,
            "bytes": facts.bytes,
            "seconds": facts.seconds,
        }
    finally:
        ledger.close()


def _move_up(root: Path) -> None:
    """Put what was restored where it belongs: its entries into the volume, its own attributes onto the volume."""
    facts = root.lstat()
    attributes = read_xattrs(os.fsencode(root))
    times = [(entry.lstat().st_mtime_ns, entry.name) for entry in root.iterdir() if entry.is_dir()]
    for entry in list(root.iterdir()):
        entry.rename(VOLUME / entry.name)
    for moment, name in times:  # moving a directory may change it
        if not (VOLUME / name).is_symlink():
            os.utime(VOLUME / name, ns=(moment, moment))
    root.rmdir()
    (VOLUME / STAGING).rmdir()
    os.chown(VOLUME, facts.st_uid, facts.st_gid)
    for key, value in attributes.items():
        set_xattr(os.fsencode(VOLUME), key, value)
    VOLUME.chmod(stat.S_IMODE(facts.st_mode))
    os.utime(VOLUME, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def main(words: list[str]) -> int:
    """Do what the words say; 0 when it was done, whatever was found."""
    deed, name, *rest = words
    answer = (
        archive(name, rest[0]) if deed == "archive" else restore(name, Limits.model_validate_json(rest[0]))
    )
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
