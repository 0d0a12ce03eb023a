"""What `smos init` finds on this machine: it asks servers on loopback, and changes nothing."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from smos.config.keys import KEYS

ANSWER_S = 2.0
VAULT_ADDRESSES = ("https://127.0.0.1:8200", "http://127.0.0.1:8200")
DOCKER_SOCKETS = ("/var/run/docker.sock", "~/.docker/run/docker.sock", "/run/user/{uid}/docker.sock")
BACKUP_DIRECTORIES = ("/backups", "/var/backups/smarteros")


@dataclass(frozen=True, slots=True)
class Found:
    """A proposal: a key, its value, and how it was found."""

    key: str
    value: str
    how: str


def discover(environ: Mapping[str, str]) -> tuple[Found, ...]:
    """Return what answers here; each question takes at most two seconds."""
    found = [*_vault(environ), *_docker(environ), *_backups()]
    return tuple(found)


def starting_text(found: Sequence[Found]) -> str:
    """Return a configuration with what was found, and every other key as a comment."""
    values = {item.key: item.value for item in found}
    lines = [
        "# smos: where your servers are. `smos config list` shows what holds; secrets are not kept here.",
        "",
    ]
    group = ""
    for name, key in KEYS.items():
        if key.secret:
            continue
        head, _, rest = name.rpartition(".")
        if head != group:
            members = [other for other in KEYS if other.rpartition(".")[0] == head and other in values]
            lines += ["", f"{head}:" if members else f"# {head}:"] if head else []
            group = head
        indent = "  " if rest != name else ""
        comment = f"  # {key.help}"
        if name in values:
            lines.append(f"{indent}{rest or name}: {_quoted(values[name])}{comment}")
        else:
            default = "" if key.default is None else f" {key.default}"
            lines.append(f"# {indent}{rest or name}:{default}{comment}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _vault(environ: Mapping[str, str]) -> list[Found]:
    named = next((environ[name] for name in KEYS["vault.address"].environment if environ.get(name)), None)
    for address in (named,) if named else VAULT_ADDRESSES:
        if urlsplit(address).scheme not in {"http", "https"}:
            continue
        try:
            # No certificate is checked: nothing is sent, and only whether a Vault answers here is asked.
            answer = httpx.get(
                f"{address}/v1/sys/health",
                timeout=ANSWER_S,
                verify=False,  # noqa: S501  (said above)
                trust_env=False,
            )
            document = answer.json()
        except (httpx.HTTPError, ValueError):
            continue
        if isinstance(document, dict) and "sealed" in document:
            state = "sealed" if document["sealed"] else "unsealed"
            return [
                Found(
                    "vault.address", address, f"it answers, {state}, version {document.get('version', '?')}"
                )
            ]
    return []


def _docker(environ: Mapping[str, str]) -> list[Found]:
    named = environ.get("DOCKER_HOST", "")
    places = [named.removeprefix("unix://")] if named.startswith("unix://") else list(DOCKER_SOCKETS)
    for place in places:
        path = Path(place.format(uid=os.getuid())).expanduser()
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(ANSWER_S)
                client.connect(str(path))
        except OSError:
            continue
        return [Found("docker.host", f"unix://{path}", "an engine answers")]
    return []


def _backups() -> list[Found]:
    for place in BACKUP_DIRECTORIES:
        if Path(place).is_dir():
            return [Found("backups.directory", place, "the directory exists")]
    return []
