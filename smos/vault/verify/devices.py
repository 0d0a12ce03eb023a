"""What a Vault's audit devices and mounts are set to, and what one secret of the platform's leaves in its log.

Asked of the Vault that is verified. A device that writes to nowhere, or a mount whose values are kept out of the
hashing, makes an audit log that looks whole and is not.
"""

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smos.vault.verify.bare import looked, send
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.probe import Probe, ask, probe

NOWHERE = frozenset({"discard", "/dev/null"})
SECRET_KEYS = frozenset(
    {
        *(
            "data",
            "value",
            "secret",
            "secret_id",
            "password",
            "passwords",
            "token",
            "client_token",
            "private_key",
        ),
        *("key", "keys", "keys_base64", "plaintext", "ciphertext", "input"),
    }
)
"""Fields of requests and answers that hold secrets: hashed, unless a mount's tuning takes them out of it."""
KV_OWN = frozenset(
    {
        *("version", "cas", "created_time", "deletion_time", "destroyed", "error", "errors"),
        *("current_version", "oldest_version", "updated_time", "max_versions", "cas_required"),
    }
)
"""Fields of a KV engine's own, which hold no secret."""
TUNED = ("audit_non_hmac_request_keys", "audit_non_hmac_response_keys")
DECLARED = ("declared", "kept", "mounts-hashed")
WRITER = "ci"


def devices(lab: VaultLab) -> Iterator[Probe]:
    """Ask for the devices and for what mounts leave in the clear."""
    with lab.operator() as client:
        yield probe("declared", client.sys.list_enabled_audit_devices, _hashed)
        yield probe(
            "kept", client.sys.list_enabled_audit_devices, lambda found: not found["data"] or keeps(found)
        )
        for path in ("sys/mounts", "sys/auth"):
            status, answer, reason = ask(send(client, "GET", path))
            if status != 200:
                yield Probe(claim="mounts-hashed", status=status, seen=reason)
                continue
            clear = _clear(answer.get("data") or {})
            yield looked("mounts-hashed", not clear, "; ".join(clear) or path)


def keeps(answer: Mapping[str, Any]) -> bool:
    """Tell whether a device of this answer of `sys/audit` writes to somewhere."""
    paths = (str((item.get("options") or {}).get("file_path", "")) for item in answer["data"].values())
    return any(path not in NOWHERE for path in paths)


def _hashed(answer: Mapping[str, Any]) -> bool:
    """Tell whether there are devices and none of them shows secrets or accessors as they are."""
    options = [item.get("options") or {} for item in answer["data"].values()]
    raw = any(str(item.get("log_raw", "false")).lower() == "true" for item in options)
    accessors = any(str(item.get("hmac_accessor", "true")).lower() == "false" for item in options)
    return bool(options) and not raw and not accessors


def _clear(mounts: Mapping[str, Any]) -> list[str]:
    """Return the mounts that keep fields with secrets out of the hashing, with the fields."""
    found = []
    for path, mount in sorted(mounts.items()):
        tuned = mount.get("config") or {}
        fields = {field for name in TUNED for field in tuned.get(name) or ()}
        # The fields of a KV secret are called what their owner likes: whatever is not Vault's own may be one.
        clear = (
            fields - KV_OWN if mount.get("type") in {"kv", "generic", "cubbyhole"} else fields & SECRET_KEYS
        )
        if clear:
            found.append(f"{path}: {', '.join(sorted(clear))}")
    return found


def trail(lab: VaultLab, log: Path) -> Iterator[Probe]:
    """Write and read a canary on the platform's own mount, and look for it in the platform's own log."""
    canary = f"canary-{secrets.token_hex(16)}"
    path = f"{lab.subject.kv_mount}/data/ci/audit-{secrets.token_hex(6)}"
    with lab.as_role(WRITER) as client:
        made = ask(send(client, "POST", path, {"data": {"note": canary}}))[0]
        read = ask(send(client, "GET", path))[0]
    if {made, read} != {200}:
        yield looked("platform-secret", None, f"it was answered {made} and {read}")
        return
    text = log.read_bytes() if log.exists() else b""
    clear, entries = text.count(canary.encode()), text.count(path.encode())
    yield looked("platform-secret", clear == 0, f"{clear} times in clear in the platform's log")
    # Two requests, an entry of the request and one of the answer for each.
    yield looked("platform-trail", entries >= 4, f"{entries} of 4 entries in the platform's log")
