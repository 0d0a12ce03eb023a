"""Reads the demo's compose file as data: networks, ports, mounts, hardening, and credentials that have defaults."""

import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smos.compose.variables import shipped
from smos.demo.verify.facts import ComposeFacts, ServiceConfig
from smos.paths import compose_dir

CREDENTIAL = re.compile(r"PASSWORD|SECRET|TOKEN|(^|_)KEY($|_)|CREDENTIAL|_DSN$", re.IGNORECASE)
HOST_MODES = (
    "network_mode",
    "pid",
    "ipc",
    "userns_mode",
    "uts",
    "cgroup_parent",
    "devices",
    "volumes_from",
    "extra_hosts",
    "links",
    "external_links",
)
"""Keys that share something with the host or with containers of other projects."""
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"


def compose_text() -> str:
    """Return the demo's compose file."""
    return (compose_dir() / "demo.yml").read_text(encoding="utf-8")


def read_compose(text: str) -> ComposeFacts:
    """Parse a compose file. What can't be parsed is a fact too (`problem`)."""
    try:
        data = YAML(typ="safe").load(text)
    except YAMLError as error:
        return _unreadable(f"it is not valid YAML: {type(error).__name__}")
    if not isinstance(data, Mapping) or not isinstance(data.get("services"), Mapping):
        return _unreadable("it has no services")
    networks = {str(name): dict(config or {}) for name, config in (data.get("networks") or {}).items()}
    volumes = {str(name): dict(config or {}) for name, config in (data.get("volumes") or {}).items()}
    return ComposeFacts(
        project=str(data.get("name", "")),
        services=tuple(
            _service(str(name), dict(config or {}), data) for name, config in data["services"].items()
        ),
        networks=tuple(networks),
        internal_networks=tuple(name for name, config in networks.items() if config.get("internal") is True),
        guarded_networks=tuple(
            name
            for name, config in networks.items()
            if str((config.get("driver_opts") or {}).get(MASQUERADE)).lower() == "false"
        ),
        external=tuple(
            f"{kind} {name}"
            for kind, things in (("network", networks), ("volume", volumes))
            for name, config in things.items()
            if config.get("external") or "name" in config
        ),
    )


def _unreadable(problem: str) -> ComposeFacts:
    return ComposeFacts(
        project="",
        services=(),
        networks=(),
        internal_networks=(),
        guarded_networks=(),
        external=(),
        problem=problem,
    )


def _service(name: str, config: dict[str, Any], data: Mapping[str, Any]) -> ServiceConfig:
    environment = _mapping(config.get("environment"))
    resources = config.get("deploy") or {}
    limits = (resources.get("resources") or {}).get("limits") or {}
    limited = bool(
        (config.get("mem_limit") or limits.get("memory")) and (config.get("pids_limit") or limits.get("pids"))
    )
    networks = config.get("networks")
    return ServiceConfig(
        name=name,
        image=shipped(str(config.get("image", ""))),
        networks=tuple(networks) if networks else ("default",),
        ports=tuple(_port(port) for port in config.get("ports") or ()),
        read_only=config.get("read_only") is True,
        privileged=config.get("privileged") is True,
        dropped=tuple(map(str, config.get("cap_drop") or ())),
        added=tuple(map(str, config.get("cap_add") or ())),
        security_options=tuple(map(str, config.get("security_opt") or ())),
        healthcheck=bool(config.get("healthcheck")) and not (config["healthcheck"] or {}).get("disable"),
        limited=limited,
        restart=str(config.get("restart", "")),
        labels=_mapping(config.get("labels")),
        host_modes=tuple(key for key in HOST_MODES if config.get(key)),
        mounts=tuple(_mount(mount) for mount in config.get("volumes") or ()),
        secrets={
            **{key: value for key, value in environment.items() if CREDENTIAL.search(key)},
            **_files(config, data),
        },
    )


def _files(config: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, str]:
    """Return the secrets of compose that a service is given, by what they come from."""
    known = data.get("secrets") or {}
    found = {}
    for one in config.get("secrets") or ():
        name = str(one.get("source") if isinstance(one, Mapping) else one)
        origin = known.get(name) or {}
        found[f"secret {name}"] = (
            f"${{{origin['environment']}:?}}" if "environment" in origin else str(origin.get("file", ""))
        )
    return found


def _mapping(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(key): "" if item is None else str(item) for key, item in value.items()}
    pairs = (str(item).partition("=") for item in value or ())
    return {key: text for key, _, text in pairs}


def _port(port: Any) -> str:
    if isinstance(port, Mapping):
        return f"{port.get('host_ip', '')}:{port.get('published', '')}:{port.get('target', '')}"
    return str(port)


def _mount(mount: Any) -> str:
    if isinstance(mount, Mapping):
        return (
            f"{mount.get('source', '')}:{mount.get('target', '')}:{'ro' if mount.get('read_only') else 'rw'}"
        )
    return str(mount)
