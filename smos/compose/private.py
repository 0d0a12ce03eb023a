"""A stack under other names and ports: it runs beside the users' own on one host, and is removed with its owner."""

import copy
from collections.abc import Callable, Mapping
from typing import Any


def private_copy(
    rendered: Mapping[str, Any],
    *,
    project: str,
    labels: Mapping[str, str],
    port_for: Callable[[str, int], int],
    without: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return a rendered stack with names, labels and published ports of its own; all else is as shipped.

    project: the prefix of every container, network and volume. labels: put on all of them. port_for: gives the port of
    the host for a service and its port. without: services that are left out (no image can be had).
    """
    stack = copy.deepcopy(dict(rendered))
    stack["name"] = project
    stack["services"] = {name: one for name, one in stack["services"].items() if name not in without}
    for name, service in stack["services"].items():
        service["container_name"] = f"{project}-{name}"
        service["labels"] = {**(service.get("labels") or {}), **labels}
        for port in service.get("ports") or ():
            port["published"] = str(port_for(name, int(port["target"])))
    for kind in ("networks", "volumes"):
        for name, thing in (stack.get(kind) or {}).items():
            owned = thing or {}
            stack[kind][name] = {
                **owned,
                "name": f"{project}_{name}",
                "labels": {**(owned.get("labels") or {}), **labels},
            }
    return stack
