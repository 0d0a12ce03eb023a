"""Debian root file systems as tar archives, kept in the cache with the list of their packages.

mmdebstrap makes them from the mirrors that this machine uses; Debian's signatures are checked. Without a package
manager inside, without programs that change the user, without keys that a package made, and with fixed times: the
same packages give the same archive, byte for byte.
"""

import hashlib
import platform
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from smos.errors import ProvisionError
from smos.provision.cache import cached

MAKE_S = 900
"""Seconds that one root file system may take, downloads included."""
EPOCH = 1_700_000_000
"""Time of every file in the archives: a fixed one, so that equal content gives equal archives."""
DOCUMENTATION = (
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/share/doc/*",
    "/usr/share/lintian/*",
)
KEPT = ("/usr/share/doc/*/copyright",)
HOOKS = (
    'find "$1" -xdev -perm /6000 -type f -exec chmod a-s {} +',
    # Made when the packages were installed, so the same for everybody who has the image.
    'rm -rf "$1"/etc/ssl/private/* "$1"/etc/ssl/certs/ssl-cert-snakeoil.pem',
    'rm -rf "$1"/etc/postgresql/* "$1"/var/lib/postgresql/*',
    'rm -rf "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/etc/machine-id "$1"/var/log/* "$1"/var/cache/*',
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RootFileSystem:
    """One archive. digest: SHA-256 of the archive. packages: `name version` of each, sorted."""

    archive: Path
    digest: str
    packages: tuple[str, ...]


def make_root(suite: str, packages: tuple[str, ...], *, mirror: str | None = None) -> RootFileSystem:
    """Return the root file system with these packages, made now where it is not in the cache.

    mirror: take this one and nothing else, e.g. a snapshot of the archive at a moment. Raises ProvisionError.
    """

    def make(content: Path) -> None:
        archive = content / "root.tar"
        _mmdebstrap(suite, packages, archive, mirror)
        with archive.open("rb") as file:
            (content / "sha256").write_text(hashlib.file_digest(file, "sha256").hexdigest(), encoding="ascii")
        (content / "packages.txt").write_text("\n".join(_installed(archive)), encoding="utf-8")

    key = repr((suite, packages, mirror, platform.machine(), EPOCH, DOCUMENTATION, KEPT, HOOKS))
    content = cached("image-root", key, make)
    return RootFileSystem(
        content / "root.tar",
        (content / "sha256").read_text(encoding="ascii"),
        tuple((content / "packages.txt").read_text(encoding="utf-8").splitlines()),
    )


def _mmdebstrap(suite: str, packages: tuple[str, ...], archive: Path, mirror: str | None) -> None:
    tool = shutil.which("mmdebstrap")
    if tool is None:
        raise ProvisionError(
            "A Debian root file system is made by mmdebstrap, which is not here",
            remedy="apt-get install mmdebstrap (Debian, Ubuntu)",
        )
    words = [tool, "--quiet", "--variant=essential", "--format=tar", f"--include={','.join(packages)}"]
    words += [f"--dpkgopt=path-exclude={path}" for path in DOCUMENTATION]
    words += [f"--dpkgopt=path-include={path}" for path in KEPT]
    words += [f"--customize-hook={hook}" for hook in HOOKS]
    words += [suite, str(archive), *([mirror] if mirror else [])]
    environment = shutil.which("env") or "/usr/bin/env"
    try:
        done = subprocess.run(
            [environment, f"SOURCE_DATE_EPOCH={EPOCH}", *words],
            capture_output=True,
            check=False,
            timeout=MAKE_S,
            cwd=archive.parent,
        )
    except subprocess.TimeoutExpired as error:
        raise ProvisionError(
            f"mmdebstrap was not done within {MAKE_S} s", remedy="is Debian's mirror reachable?"
        ) from error
    if done.returncode != 0:
        raise ProvisionError(
            f"mmdebstrap could not make a root file system (exit code {done.returncode})",
            remedy="a mirror of Debian must be reachable; the reason is below",
            log="\n".join(done.stderr.decode("utf-8", "replace").splitlines()[-15:]),
        )


def _installed(archive: Path) -> list[str]:
    """Return `name version` of each package in the archive."""
    with tarfile.open(archive) as tar:
        for name in ("./var/lib/dpkg/status", "var/lib/dpkg/status"):
            try:
                member = tar.extractfile(name)
            except KeyError:
                continue
            if member is not None:
                return sorted(_parse(member.read().decode("utf-8")))
    raise ProvisionError("The root file system names no packages", remedy="remove the cache and try again")


def _parse(status: str) -> list[str]:
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " "
        )
        if "Package" in fields:
            found.append(f"{fields['Package']} {fields['Version']}")
    return found
