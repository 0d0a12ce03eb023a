"""Changed copies of the shipped stack's files, for faults: the shipped ones are never touched."""

import shutil
from collections.abc import Callable
from pathlib import Path

from smos.faults.observability.work import ObservabilityWork
from smos.paths import compose_dir


def changed(work: ObservabilityWork, name: str, change: Callable[[str], str]) -> Path:
    """Return a copy of the folder compose/ in which one file (`observability/…`) is changed.

    Raises ValueError where nothing was changed: the fault would be none.
    """
    folder = work.lab.owner().directory("compose", read_only=True) / "compose"
    folder.mkdir()
    shutil.copyfile(compose_dir() / "observability.yml", folder / "observability.yml")
    shutil.copytree(compose_dir() / "observability", folder / "observability")
    path = folder / name
    before = path.read_text(encoding="utf-8")
    after = change(before)
    if after == before:
        raise ValueError(f"{name} holds nothing of what this fault changes")
    path.write_text(after, encoding="utf-8")
    return folder


def swap(old: str, new: str) -> Callable[[str], str]:
    """Return a change: every `old` becomes `new`."""
    return lambda text: text.replace(old, new)
