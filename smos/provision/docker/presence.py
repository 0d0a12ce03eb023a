"""Whether containers can be started here, told in milliseconds and without the engine's SDK: asked while collecting."""

import http.client
import importlib.util
import json
from urllib.parse import quote

from smos.errors import ProvisionError
from smos.provision.docker.engine import RIGHTS_REMEDY, SDK_REMEDY, engine_socket, not_allowed
from smos.provision.docker.removal import EngineSocket

LABEL = "cl.smarterbot.image"


def missing(*images: str) -> str:
    """Say what is missing for servers from these images of ours, with the remedy; empty: nothing."""
    if any(importlib.util.find_spec(name) is None for name in ("docker", "testinfra")):
        return f"the extra `docker` is not installed ({SDK_REMEDY})"
    try:
        socket = engine_socket()
        if refused := not_allowed(socket):
            return f"{refused} ({RIGHTS_REMEDY})"
        asked = EngineSocket(socket)
        asked.ask("GET", "/version")
        for name in images:
            wanted = quote(json.dumps({"label": [f"{LABEL}={name}"]}))
            status, found = asked.ask("GET", f"/images/json?filters={wanted}")
            if status != 200 or not found:
                return f"the engine has no image of {name} (make images)"
    except ProvisionError as error:
        return error.message
    except (OSError, http.client.HTTPException, ValueError):
        return "no container engine answers (Debian: apt install docker.io)"
    return ""
