"""What the compose file that is shipped says of the server's container: its user, rights, core dumps, swap, ports.

The process that the harness starts shows what the harness does; users start the server by this file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smos.paths import compose_dir
from smos.vault.verify.bare import looked
from smos.vault.verify.probe import Probe

SERVICE = "vault"
CLAIMS = ("no-superuser", "no-core-dumps", "not-swapped", "published")
LOOPBACK = ("127.0.0.1:", "[::1]:")


def deployment(path: Path | None = None) -> Iterator[Probe]:
    """Say what the file grants the server. path: None: the one that comes with this package."""
    path = path or compose_dir() / "vault.yml"
    try:
        service = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["services"][SERVICE]
        yield from _look(service, path.name)
    except (OSError, UnicodeDecodeError, YAMLError, KeyError, TypeError, AttributeError) as error:
        for claim in CLAIMS:
            yield looked(claim, None, f"{path.name} can't be understood ({type(error).__name__})")


def _look(service: dict[str, Any], name: str) -> Iterator[Probe]:
    user = str(service.get("user", ""))
    dropped = [str(item).upper() for item in service.get("cap_drop") or []]
    added = [str(item) for item in service.get("cap_add") or []]
    options = [str(item).replace("=", ":") for item in service.get("security_opt") or []]
    mine = (
        user.partition(":")[0] not in {"", "0", "root"}
        and "ALL" in dropped
        and not added
        and not service.get("privileged")
        and "no-new-privileges:true" in options
    )
    yield looked(
        "no-superuser", mine, f"{name}: user {user or 'of the image'}, added {', '.join(added) or '-'}"
    )
    core = (service.get("ulimits") or {}).get("core")
    limit = core.get("hard") if isinstance(core, dict) else core
    yield looked("no-core-dumps", limit == 0, f"{name}: core limit {limit}")
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    memory, both = service.get("mem_limit", limits.get("memory")), service.get("memswap_limit")
    yield looked(
        "not-swapped", both is not None and both == memory, f"{name}: {memory} of memory, {both} with swap"
    )
    ports = [str(item) for item in service.get("ports") or []]
    wide = [item for item in ports if not item.startswith(LOOPBACK)]
    yield looked("published", not wide, f"{name}: {', '.join(wide) or 'on loopback'}")
