"""Programs built from Go's module proxy, kept in the cache: one process builds while others wait."""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from smos.errors import ProvisionError
from smos.paths import cache_dir
from smos.provision.cache import cached

BUILD_S = 2400
"""Seconds that a build may take, and that others wait for it."""
ASK_S = 20
REMEDY = "install Go (https://go.dev/dl), then run: make observability-deps"
STATIC = {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
"""Programs without the system's libraries, and without this machine's paths in them."""
LDFLAGS = "-s -w"
"""A third smaller without the tables for debuggers."""


def go_version() -> str | None:
    """Return the compiler's version and platform, e.g. `go1.26.8 linux/amd64`; None when there is no Go."""
    go = shutil.which("go")
    if go is None:
        return None
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False, timeout=ASK_S)
    match = re.search(r"go\d\S* \S+/\S+", done.stdout)
    return match[0] if match else None


def find_built(label: str, program: str, key: str) -> Path | None:
    """Return the program that was built for `key` (with this Go, or with any where there is none)."""
    version = go_version()
    for note in sorted(cache_dir().glob(f"{label}-*/content/key.txt")):
        built = note.read_text(encoding="utf-8")
        if built == f"{key}\n{version}" or (version is None and built.startswith(f"{key}\n")):
            return note.with_name(program)
    return None


def build(label: str, program: str, key: str, make: Callable[[str, Path], None]) -> Path:
    """Return the program for `key`, built now by `make` (Go's path, the folder to fill) where it was not.

    Raises ProvisionError.
    """
    if (found := find_built(label, program, key)) is not None:
        return found
    go, version = shutil.which("go"), go_version()
    if go is None or version is None:
        raise ProvisionError(f"{label} has to be built, and there is no Go here", remedy=REMEDY)

    def fill(content: Path) -> None:
        make(go, content)
        (content / program).chmod(0o755)
        (content / "key.txt").write_text(f"{key}\n{version}", encoding="utf-8")

    try:
        with FileLock(cache_dir() / f"{label}.build.lock", timeout=BUILD_S):
            return cached(label, f"{key}\n{version}", fill) / program
    except Timeout as error:
        raise ProvisionError(
            f"Another process has been building {label} for more than {BUILD_S} s",
            remedy="wait for it, or end it",
        ) from error


def run_go(words: Sequence[str], *, place: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command of Go in `place`; `env` is added to this process' own. Raises ProvisionError."""
    setting = [f"{name}={value}" for name, value in {**STATIC, **(env or {})}.items()]
    tool = shutil.which("env") or "/usr/bin/env"
    try:
        done = subprocess.run(
            [tool, *setting, *words], cwd=place, capture_output=True, check=False, timeout=BUILD_S
        )
    except subprocess.TimeoutExpired as error:
        raise ProvisionError(
            f"Go was not done within {BUILD_S} s", remedy="try again: what was compiled is kept"
        ) from error
    if done.returncode != 0:
        raise ProvisionError(
            f"Go could not build it (exit code {done.returncode})",
            remedy="a module proxy must be reachable (go env GOPROXY); the reason is below",
            log="\n".join(done.stderr.decode("utf-8", "replace").splitlines()[-20:]),
        )
