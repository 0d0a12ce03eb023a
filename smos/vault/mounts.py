"""A KV v2 mount that takes requests as soon as it is there."""

from contextlib import suppress

import hvac

from smos.vault.model import REQUEST_LIMIT_S
from smos.wait import wait_for

MOUNT_S = 120.0


def mount_kv(client: hvac.Client, path: str) -> None:
    """Mount a KV v2 engine, and wait until it takes requests: for a moment after its creation it refuses all.

    The client's token must be allowed to read the mount's configuration. Raises CLIENT_ERRORS, DeadlineError.
    """
    client.sys.enable_secrets_engine("kv", path=path, options={"version": "2"})

    def ready() -> bool:
        with suppress(hvac.exceptions.InvalidRequest):
            client.adapter.get(f"/v1/{path}/config", timeout=REQUEST_LIMIT_S)
            return True
        return False

    wait_for(ready, what=f"the mount {path}/ takes requests", deadline_s=MOUNT_S)
