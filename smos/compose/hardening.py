"""How hardened a rendered stack is: the rules of the CIS Docker Benchmark (section 5) that a compose file decides.

A pure judge: it takes what Compose rendered (`docker compose config`), and asks no engine.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from smos.verdict import Finding, Judgement, fail, not_proven

ALLOWED_CAPABILITIES = frozenset({"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"})
"""What an entry point needs that gives a data directory to its user and becomes that user."""
PINNED = re.compile(r":v?\d+\.\d+[\w.-]*$|^smos/[\w-]+:[0-9a-f]{16}$|@sha256:[0-9a-f]{64}$")
LOOPBACK = frozenset({"127.0.0.1", "::1"})
FIRST_UNPRIVILEGED_PORT = 1024
STACK_LABEL, BACKUP_LABEL = "cl.smarterbot.stack", "cl.smarterbot.backup"
HEALTH_LABEL = "cl.smarterbot.health-port"
"""For an image that has no program to ask from inside: the port of the container, published, where health is asked."""
SHARED = ("container:", "service:")
DIRECT_NETWORKS = frozenset({"host", "macvlan", "ipvlan"})
"""Drivers whose containers stand in the machine's own network: nothing that is published on loopback holds for them."""
HOLLOW = re.compile(
    r"\b(true|exit\s+0|pgrep|pidof|kill\s+-0|ps\s+-?\w*|nc\s+-\w*z\w*|/dev/tcp/\S+)(?!\S)|^\s*(:|echo\b.*|test\s+-[def]\s+\S+)\s*$"
)
"""Words of a health check that ask the process, the port or nobody; the application may be dead behind them."""
Service = Mapping[str, Any]
Rule = Callable[[str, Service], Iterator[Finding]]


def judge_stack(rendered: Mapping[str, Any], *, folder: str) -> Judgement:
    """Judge a rendered stack. One without services is not proven: there was nothing to look at.

    folder: where its file is; what is mounted from there may be, read-only.
    """
    services: Mapping[str, Service] = rendered.get("services") or {}
    if not services:
        finding = not_proven("compose-empty", "The rendered stack holds no service", "render the whole file")
        return Judgement((finding,))
    findings = [finding for name in services for rule in RULES for finding in rule(name, services[name])]
    findings += [finding for name in services for finding in _mounts(name, services[name], folder)]
    findings += [*_networks(rendered), *_volumes(rendered)]
    return Judgement(
        tuple(findings),
        {
            "services": sorted(services),
            "volumes": sorted(rendered.get("volumes") or {}),
            "rules": len(RULES) + 3,
        },
    )


def _privileged(name: str, service: Service) -> Iterator[Finding]:  # CIS 5.5, 5.18
    if service.get("privileged"):
        yield fail("compose-privileged", f"{name} is privileged: it owns the host", "remove privileged")
    reserved = ((service.get("deploy") or {}).get("resources") or {}).get("reservations") or {}
    if any(service.get(key) for key in ("devices", "device_cgroup_rules", "gpus")) or reserved.get("devices"):
        yield fail("compose-device", f"{name} has devices of the host", "remove devices")
    for key in ("post_start", "pre_stop"):
        if any(hook.get("privileged") for hook in service.get(key) or ()):
            yield fail(
                "compose-privileged", f"{name} has a privileged {key}: it owns the host", "remove privileged"
            )


def _capabilities(name: str, service: Service) -> Iterator[Finding]:  # CIS 5.4
    if "ALL" not in (service.get("cap_drop") or ()):
        yield fail("compose-capabilities-kept", f"{name} keeps the default capabilities", "cap_drop: [ALL]")
    added = sorted(set(service.get("cap_add") or ()) - ALLOWED_CAPABILITIES)
    if added:
        yield fail("compose-capability-added", f"{name} adds {', '.join(added)}", "do without")


def _confinement(name: str, service: Service) -> Iterator[Finding]:  # CIS 5.2, 5.3, 5.22, 5.26
    options = [str(option) for option in service.get("security_opt") or ()]
    told = [option for option in options if option.startswith("no-new-privileges")]
    if not told or not all(re.fullmatch(r"no-new-privileges([:=]true)?", option) for option in told):
        yield fail("compose-new-privileges", f"{name} may gain privileges", "no-new-privileges:true")
    loose = [
        option
        for option in options
        if re.search(
            r"unconfined|label[:=]disable|^seccomp[:=](?!builtin$)", option
        )  # a profile may allow everything
    ]
    if loose:
        yield fail("compose-unconfined", f"{name} has {', '.join(loose)}", "keep the engine's own profiles")


def _namespaces(name: str, service: Service) -> Iterator[Finding]:  # CIS 5.10, 5.16, 5.17, 5.21, 5.31
    for key in ("network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup"):
        value = str(service.get(key) or "")
        if value == "host" or value.startswith(SHARED):
            yield fail("compose-namespace-shared", f"{name} has {key}: {value}", f"remove {key}")


def _mounts(name: str, service: Service, folder: str) -> Iterator[Finding]:  # CIS 5.6, 5.20, 5.32
    if service.get("use_api_socket"):
        yield fail(
            "compose-engine-socket", f"{name} is given the engine's socket: it owns the host", "remove it"
        )
    if service.get("volumes_from"):
        yield fail(
            "compose-host-mounted", f"{name} has whatever another container has mounted", "name the volumes"
        )
    for mount in service.get("volumes") or ():
        source, target = str(mount.get("source", "")), mount.get("target")
        if mount.get("type") != "bind":
            continue
        if "docker.sock" in source or "containerd.sock" in source:
            yield fail(
                "compose-engine-socket", f"{name} mounts the engine's socket: it owns the host", "remove it"
            )
        elif not source.startswith(f"{folder}/"):
            yield fail("compose-host-mounted", f"{name} mounts {source} of the host", "use a named volume")
        elif not mount.get("read_only"):
            yield fail("compose-mount-writable", f"{name} may write {target} of the checkout", "mount it :ro")
        if (mount.get("bind") or {}).get("propagation") in {"shared", "rshared"}:
            yield fail(
                "compose-mount-shared",
                f"{name} shares mounts of {target} with the host",
                "remove propagation",
            )


def _root_file_system(name: str, service: Service) -> Iterator[Finding]:  # CIS 5.13
    if service.get("read_only") is not True:
        yield fail(
            "compose-root-writable", f"{name} can write its root file system", "read_only: true, and a tmpfs"
        )


def _limits(name: str, service: Service) -> Iterator[Finding]:  # CIS 5.11, 5.12, 5.29
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    given = {
        "memory": service.get("mem_limit") or limits.get("memory"),
        "processor": service.get("cpus") or limits.get("cpus"),
        "processes": service.get("pids_limit") or limits.get("pids"),
    }
    for what, value in given.items():
        if not value or float(value) <= 0:
            yield fail(
                "compose-unlimited", f"{name} has no limit of {what}", "set mem_limit, cpus and pids_limit"
            )
    options = (service.get("logging") or {}).get("options") or {}
    if "max-size" not in options:
        yield fail(
            "compose-log-unlimited", f"{name} may fill the disk with its log", "set the log's max-size"
        )


def _ports(name: str, service: Service) -> Iterator[Finding]:  # CIS 5.8, 5.14
    for port in service.get("ports") or ():
        published = str(port.get("published") or "")
        if port.get("host_ip") not in LOOPBACK:
            yield fail("compose-port-exposed", f"{name} publishes {published} beyond loopback", "127.0.0.1:…")
        if published.isdigit() and int(published) < FIRST_UNPRIVILEGED_PORT:
            yield fail(
                "compose-port-privileged", f"{name} publishes the privileged port {published}", "take another"
            )


def _user(name: str, service: Service) -> Iterator[Finding]:  # CIS 4.1
    user = str(service.get("user") or "").partition(":")[0]
    hooks = [hook for key in ("post_start", "pre_stop") for hook in service.get(key) or ()]
    if any(_is_root(str(hook.get("user") or "").partition(":")[0]) for hook in hooks):
        yield fail("compose-root-user", f"{name} runs a hook as root", "name a user")
    if _is_root(user) and (service.get("restart") != "no" or service.get("network_mode") != "none"):
        yield fail(
            "compose-root-user",
            f"{name} runs as root",
            "name a user; root only once, before, without a network",
        )


def _is_root(user: str) -> bool:
    return user == "root" or (user.isascii() and user.isdigit() and int(user) == 0)


def _health(name: str, service: Service) -> Iterator[Finding]:  # CIS 5.27
    check = service.get("healthcheck") or {}
    words = check.get("test") or []
    asked = bool(words) and words[0] != "NONE" and not check.get("disable")
    port = str((service.get("labels") or {}).get(HEALTH_LABEL, ""))
    if port and port in {str(item.get("target")) for item in service.get("ports") or ()}:
        return
    if not asked and service.get("restart") != "no":
        yield fail(
            "compose-health-unknown", f"{name} has no health check", "ask the application, not the process"
        )
    if asked and HOLLOW.search(" ".join(map(str, words[1:]))):
        yield fail(
            "compose-health-hollow", f"{name} is healthy whatever the application says", "ask the application"
        )


def _image(name: str, service: Service) -> Iterator[Finding]:  # CIS 5.28
    image = str(service.get("image") or "")
    if not PINNED.search(image):
        yield fail("compose-image-floating", f"{name}: {image or 'no image'} is no exact version", "pin it")


def _networks(rendered: Mapping[str, Any]) -> Iterator[Finding]:
    for name, network in (rendered.get("networks") or {}).items():
        found = network or {}
        kinds = {
            str(found.get("driver") or ""),
            str(found.get("name") or "") if found.get("external") else "",
        }
        if kinds & DIRECT_NETWORKS:
            yield fail(
                "compose-namespace-shared",
                f"The network {name} is the machine's own",
                "use a bridge of the stack's own",
            )


def _volumes(rendered: Mapping[str, Any]) -> Iterator[Finding]:
    for name, volume in (rendered.get("volumes") or {}).items():
        labels = (volume or {}).get("labels") or {}
        if not labels.get(STACK_LABEL) or labels.get(BACKUP_LABEL) not in {"true", "false"}:
            yield fail(
                "compose-volume-unlabelled",
                f"The volume {name} does not say whose it is, and whether it is backed up",
                f"label it {STACK_LABEL} and {BACKUP_LABEL}",
            )
        options = (volume or {}).get("driver_opts") or {}
        if options.get("device") and str(options.get("type") or "none") != "tmpfs":
            yield fail(
                "compose-host-mounted",
                f"The volume {name} is {options['device']} of the host",
                "a volume without driver_opts",
            )
    for name, service in (rendered.get("services") or {}).items():
        for mount in service.get("volumes") or ():
            if mount.get("type") == "volume" and not mount.get("source"):
                yield fail(
                    "compose-volume-anonymous", f"{name} keeps {mount.get('target')} in a volume without a name",
                    "name it: nobody finds it for a backup",
                )  # fmt: skip


RULES: Sequence[Rule] = (
    _privileged, _capabilities, _confinement, _namespaces, _root_file_system, _limits, _ports, _user,
    _health, _image,
)  # fmt: skip
