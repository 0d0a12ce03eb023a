"""A tiny image and lone containers for the tests of containers; everything is skipped, with the reason, without an engine."""

import io
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

import pytest

from smos.provision.docker.presence import missing

MISSING = missing()
needs_engine = pytest.mark.skipif(bool(MISSING), reason=f"not proven here: {MISSING}")
REPOSITORY = "smos-test-tiny"


@cache
def tiny_image() -> str:
    """Return an image with a shell and a few tools: this machine's own, with the libraries that they name."""
    from smos.provision.docker.engine import engine

    api = engine().api
    name = f"{REPOSITORY}:2"
    if not api.images(name=name):
        api.import_image_from_data(_root(), repository=REPOSITORY, tag="2")
    return name


def _root() -> bytes:
    """Return a tar of what `sh`, `sleep`, `touch` and `id` need."""
    files: dict[str, Path] = {}
    for tool in ("sh", "sleep", "touch", "id", "cat"):
        program = Path(shutil.which(tool) or f"/bin/{tool}")
        files[f"bin/{tool}"] = program.resolve()
        said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for word in said.split():
            if word.startswith("/"):
                files[word.lstrip("/")] = Path(word).resolve()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in files.items():
            archive.add(path, name)
        for folder in ("tmp", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        archive.addfile(tarfile.TarInfo("etc/passwd"))
    return buffer.getvalue()
