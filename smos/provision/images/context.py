"""Gathers what goes into an image: Dockerfile, wheels, programs and files of the checkout, as one archive.

Owners and times are the same for everybody, so equal content gives equal layers.
"""

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from smos.errors import ProvisionError
from smos.provision.cache import cached
from smos.provision.embedded.observability_deps import PARTS
from smos.provision.images.recipes import Recipe, checkout, images_dir
from smos.provision.images.rootfs import EPOCH

PYTHON = "3.11"
"""Of Debian 12, which the images are made of."""
LIBC = "manylinux_2_36"
INSTALL_S = 900
IGNORED = frozenset({"__pycache__", ".env", ".gitignore", "built.env", "built.json"})
"""Files and folders that never go into an image: passwords above all."""


@dataclass(frozen=True, slots=True)
class Context:
    """What one Dockerfile is built from.

    parts: (name in the context, where it is). texts: what the digest is made of beside the parts' content: the
    wheels' requirements with their hashes stand for the wheels.
    """

    parts: tuple[tuple[str, Path], ...]
    texts: tuple[str, ...]
    wheels: str | None

    def digest(self) -> str:
        """Return the SHA-256 of all that goes in. Wheels are not unpacked for that."""
        total = hashlib.sha256()
        for text in (*self.texts, self.wheels or ""):
            total.update(f"{len(text)}\n{text}".encode())
        for name, path in self.parts:
            for inside, file in _walk(name, path):
                mode = "x" if file.stat().st_mode & 0o100 else "-"
                with file.open("rb") as opened:
                    content = hashlib.file_digest(opened, "sha256").hexdigest()
                total.update(f"{inside} {mode} {content}\n".encode())
        return total.hexdigest()

    def write(self, target: BinaryIO) -> None:
        """Write the archive that the engine builds from; wheels are fetched now. Raises ProvisionError."""
        parts = list(self.parts)
        if self.wheels is not None:
            parts.append(("wheels", unpacked(self.wheels)))
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, path in parts:
                for inside, file in _walk(name, path):
                    _add(tar, inside, file)


def gather(recipe: Recipe) -> Context:
    """Return what the image is built from; programs are made now where they are missing. Raises ProvisionError."""
    folder = images_dir() / recipe.name
    parts = [(path.name, path) for path in sorted(folder.iterdir())]
    parts += [(f"programs/{program}", PARTS[program]()) for program in recipe.programs]
    parts += [(f"files/{file}", checkout() / file) for file in recipe.files]
    wheels = None
    if recipe.requirements is not None:
        wheels = (checkout() / recipe.requirements).read_text(encoding="utf-8")
    elif recipe.wheels:
        wheels = locked(recipe.wheels, recipe.extras)
    return Context(tuple(parts), (recipe.name, platform.machine(), PYTHON, LIBC), wheels)


def locked(names: tuple[str, ...], extras: tuple[str, ...]) -> str:
    """Return requirements with hashes for these packages ("*": all) of the lock file. Raises ProvisionError."""
    words = [_uv(), "export", "--quiet", "--frozen", "--no-emit-project", "--no-header", "--no-annotate"]
    words += [word for extra in extras for word in ("--extra", extra)]
    text = _run(words, checkout(), "The lock file could not be read")
    entries = re.split(r"\n(?=\S)", text.strip())
    chosen = {re.split(r"[=\s;]", entry, maxsplit=1)[0]: entry for entry in entries}
    if names != ("*",):
        missing = sorted(set(names) - set(chosen))
        if missing:
            raise ProvisionError(
                f"The lock file has no package {', '.join(missing)}", remedy="mend compose/images/images.yml"
            )
        chosen = {name: chosen[name] for name in names}
    return "\n".join(chosen[name] for name in sorted(chosen)) + "\n"


def unpacked(requirements: str) -> Path:
    """Return a folder with these packages for the images' Python, installed now where it is not in the cache."""

    def make(content: Path) -> None:
        listed = content.parent / "requirements.txt"
        listed.write_text(requirements, encoding="utf-8")
        words = [_uv(), "pip", "install", "--quiet", "--no-config", "--link-mode=copy", "--no-deps"]
        words += ["--target", str(content), "--python-version", PYTHON]
        words += ["--python-platform", f"{platform.machine()}-{LIBC}", "--python", sys.executable]
        words += ["--require-hashes", "--only-binary", ":all:", "-r", str(listed)]
        _run(words, content, "The wheels for an image could not be fetched")

    return cached("image-wheels", f"{PYTHON} {LIBC} {platform.machine()}\n{requirements}", make)


def _walk(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name in the archive, file) of a file or of all files below a folder, in order."""
    if not path.is_dir():
        yield name, path
        return
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path)
        if file.is_file() and file.suffix != ".pyc" and not IGNORED.intersection(inside.parts):
            yield f"{name}/{inside}", file


def _add(tar: tarfile.TarFile, name: str, file: Path) -> None:
    info = tarfile.TarInfo(name)
    info.mtime = EPOCH
    if file.is_symlink() and not file.readlink().is_absolute():
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(file.readlink()), 0o777
        tar.addfile(info)
        return
    info.size = file.stat().st_size
    info.mode = (
        0o755 if file.stat().st_mode & 0o100 else 0o644
    )  # wheels carry the bit; unzipping by hand loses it
    with file.open("rb") as opened:
        tar.addfile(info, opened)


def _uv() -> str:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise ProvisionError("uv is not here: it reads the lock file", remedy="run `make images`")
    return uv


def _run(words: list[str], place: Path, problem: str) -> str:
    try:
        done = subprocess.run(words, cwd=place, capture_output=True, check=False, timeout=INSTALL_S)
    except subprocess.TimeoutExpired as error:
        raise ProvisionError(f"{problem} within {INSTALL_S} s", remedy="is the network slow?") from error
    if done.returncode != 0:
        raise ProvisionError(
            problem,
            remedy="a package index must be reachable; the reason is below",
            log="\n".join(done.stderr.decode("utf-8", "replace").splitlines()[-10:]),
        )
    return done.stdout.decode("utf-8")
