"""Programs from Debian's packages, unpacked into the cache: nothing is installed on the system.

On other systems the programs are taken from PATH. Debian's package manager checks the signatures.
"""

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from smos.errors import ProvisionError
from smos.paths import cache_dir
from smos.provision.cache import cached

FETCH_S = 300
"""Seconds that one call of the package manager may take."""


def find_program(package: str, names: tuple[str, ...]) -> Path | None:
    """Return the program of one of these names: on PATH, or unpacked before from `package`."""
    for name in names:
        if (found := shutil.which(name)) is not None:
            return Path(found).resolve()
    for name in names:
        for program in sorted(cache_dir().glob(f"debian-{package}-*/content/usr/bin/{name}")):
            return program
    return None


def fetch_program(package: str, names: tuple[str, ...]) -> Path:
    """Return the program, fetched with `apt-get download` where it is not here. Raises ProvisionError."""
    if (found := find_program(package, names)) is not None:
        return found
    tools = {tool: shutil.which(tool) for tool in ("apt-get", "dpkg-deb")}
    if None in tools.values():
        raise ProvisionError(
            f"There is no {names[0]} here, and this system has no apt-get to fetch it with",
            remedy=f"install {names[0]} so that it is on PATH",
        )

    def make(content: Path) -> None:
        _unpack(package, content)
        if not any((content / "usr/bin" / name).is_file() for name in names):
            raise ProvisionError(
                f"Debian's package {package} has no program {names[0]}", remedy=f"install {names[0]} by hand"
            )

    content = cached(f"debian-{package}", f"{platform.machine()} {_release()}", make)
    return next(path for name in names if (path := content / "usr/bin" / name).is_file())


def _unpack(package: str, content: Path) -> None:
    """Fetch a package and unpack it into `content`. Raises ProvisionError."""
    with tempfile.TemporaryDirectory(prefix="smos-debian-") as scratch:
        place = Path(scratch)
        problem = _run(["apt-get", "download", package], place)
        if problem is not None and os.geteuid() == 0:  # a new machine has no lists
            problem = _run(["apt-get", "update", "-q"], place) or _run(
                ["apt-get", "download", package], place
            )
        if problem is not None:
            raise ProvisionError(
                f"Debian's package {package} could not be fetched",
                remedy="apt-get update (as root), or install it",
                log=problem,
            )
        for archive in place.glob("*.deb"):
            if (problem := _run(["dpkg-deb", "-x", str(archive), str(content)], place)) is not None:
                raise ProvisionError(
                    f"{archive.name} could not be unpacked", remedy="is the disk full?", log=problem
                )


def _run(words: list[str], place: Path) -> str | None:
    """Run a command in `place`; return the end of what it said when it failed."""
    try:
        done = subprocess.run(words, cwd=place, capture_output=True, check=False, timeout=FETCH_S)
    except subprocess.TimeoutExpired:
        return f"{words[0]} was not done within {FETCH_S} s"
    if done.returncode == 0:
        return None
    return "\n".join((done.stdout + done.stderr).decode("utf-8", "replace").splitlines()[-10:])


def _release() -> str:
    release = Path("/etc/os-release")
    return release.read_text(encoding="utf-8") if release.is_file() else ""
