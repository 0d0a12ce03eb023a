"""Deploys the front end by the Vercel CLI, where it is installed. Its token comes from the environment."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from smos.errors import AuthenticationError, ProvisionError, SmosError, TargetError

DEPLOY_S = 1800
_URL = re.compile(r"https://[A-Za-z0-9.-]+")


def find_vercel() -> str:
    """Return the program. Raises ProvisionError where it is not installed."""
    program = shutil.which("vercel")
    if program is None:
        raise ProvisionError(
            "The Vercel CLI is not installed, so the front end can't be deployed from here",
            remedy="npm install --global vercel, then: vercel login (or VERCEL_TOKEN in the environment)",
        )
    return program


def check_directory(named: str | None) -> Path:
    """Return the front end's directory. Raises TargetError."""
    if not named:
        raise TargetError("No front end is named", remedy="smos config set deploy.frontend DIRECTORY")
    path = Path(named).expanduser()
    if not (path / "package.json").is_file():
        raise TargetError(f"{path} holds no package.json", remedy="smos config set deploy.frontend DIRECTORY")
    return path


def deploy_frontend(program: str, directory: Path) -> str:
    """Deploy to production and return the address. Raises AuthenticationError, SmosError with the CLI's last words."""
    try:
        done = subprocess.run(
            [program, "deploy", "--prod", "--yes", "--no-color", "--cwd", str(directory)],
            env=dict(os.environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=DEPLOY_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SmosError(f"The Vercel CLI took longer than {DEPLOY_S} s") from error
    said = done.stderr.strip()
    if done.returncode != 0:
        if "credentials" in said or "token" in said.lower():
            raise AuthenticationError("Vercel refused the login", remedy="vercel login, or VERCEL_TOKEN")
        raise SmosError("The Vercel CLI failed", log=said[-2000:])
    found = _URL.findall(done.stdout)
    if not found:
        raise SmosError(
            "The Vercel CLI named no address, so nothing shows that it deployed", log=said[-2000:]
        )
    return str(found[-1])
