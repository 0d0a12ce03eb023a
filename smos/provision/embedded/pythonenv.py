"""Python programs with pinned requirements of their own, apart from ours: folders in the cache.

The requirements name every package with its hashes. They are installed once for each Python version.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from smos.errors import ProvisionError
from smos.provision.cache import cached

INSTALL_S = 600


def find_packages(label: str, requirements: Path) -> Path:
    """Return the folder with these packages for `sys.path`, installed now where it was not.

    Raises ProvisionError when they can't be installed.
    """

    def make(content: Path) -> None:
        words = [*_installer(), "--target", str(content), "--require-hashes", "--only-binary", ":all:"]
        words += ["-r", str(requirements)]
        try:
            done = subprocess.run(words, capture_output=True, check=False, timeout=INSTALL_S)
        except subprocess.TimeoutExpired as error:
            raise ProvisionError(f"{label} was not installed within {INSTALL_S} s") from error
        if done.returncode != 0:
            raise ProvisionError(
                f"{label} could not be installed (exit code {done.returncode})",
                remedy="a package index must be reachable; the reason is below",
                log="\n".join(done.stderr.decode("utf-8", "replace").splitlines()[-10:]),
            )
        _compile(content)
        for path in content.rglob("*"):  # the service user reads it
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = f"compiled in place {version} {requirements.read_text(encoding='utf-8')}"
    return cached(label, key, make)


def _compile(content: Path) -> None:
    """Compile the packages beside their sources, where every Python of this version finds it.

    Nobody may write there later, and compiling Django at every start takes seconds. By hash, not by time: files of
    another age would be compiled again each time. By a Python of its own that is isolated: this one may have been told
    to keep bytecode elsewhere (PYTHONPYCACHEPREFIX), where the isolated server does not look. What can't be compiled
    is no matter: it says so itself when it is imported.
    """
    words = [
        sys.executable,
        "-I",
        "-m",
        "compileall",
        "-q",
        "-q",
        "-j",
        "0",
        "--invalidation-mode",
        "unchecked-hash",
    ]
    try:
        subprocess.run([*words, str(content)], capture_output=True, check=False, timeout=INSTALL_S)
    except subprocess.TimeoutExpired as error:
        raise ProvisionError(f"{content} was not compiled within {INSTALL_S} s") from error


def _installer() -> list[str]:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is not None:
        return [
            uv,
            "pip",
            "install",
            "--quiet",
            "--no-config",
            "--link-mode=copy",
            "--python",
            sys.executable,
        ]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
