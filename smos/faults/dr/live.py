"""F510 to F549: what can be wrong with production, or with what answers in its name, while a drill looks at it.

The host is this machine with commands in front of its own: the real driver asks, scripts of the fault answer.
"""

import shlex
from contextlib import ExitStack
from datetime import timedelta

from smos.checks.dr.production import judge_vault_in_place, of_all, of_newest, of_services
from smos.clock import SystemClock
from smos.drill.record import ServiceFacts
from smos.errors import TargetError
from smos.faults.dr.harness import answering, certificate
from smos.faults.dr.workspace import Workspace
from smos.faults.registry import Expectation, caught, fault
from smos.live.declared import HostLimits, HostSource, HostTarget, Service
from smos.live.fetch import Fetcher
from smos.live.host import Host
from smos.live.production import Production
from smos.live.sources.host import HostDirectory
from smos.live.transport import Local
from smos.provision.owner import BASE_ENV, Owner
from smos.target import Target, VaultTarget
from smos.verdict import Judgement, Verdict

NOT_PROVEN = Verdict.NOT_PROVEN
CLOCK = SystemClock()
QUIET = HostLimits(
    disk_used_percent=100, inodes_used_percent=100, memory_available_percent=0, clock_skew_seconds=3600
)
"""What this machine is like must not decide."""
RUNNING = (
    '{"Status":"running","Running":true,"StartedAt":"2026-01-01T00:00:00.5Z","Health":{"Status":"healthy"}} 0'
)
STALL_S = 0.5


def _unit(**changes: str) -> str:
    values = {
        "Id": "odoo.service",
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "Result": "success",
        "NRestarts": "0",
        "ActiveEnterTimestampMonotonic": "1000000",
    } | changes
    return "\n".join(f"{name}={value}" for name, value in values.items())


def _print(text: str) -> str:
    return f"printf '%s\\n' {shlex.quote(text)}"


HEALTHY = {
    "docker": _print(RUNNING),
    "systemctl": _print(_unit()),
    "cat": "case $1 in */uptime) echo 900000.00 1.00;; *) printf 'MemTotal: 8000 kB\nMemAvailable: 4000 kB\n';; esac",
}


def _host(
    work: Workspace,
    tools: dict[str, str],
    services: tuple[Service, ...] = (),
    limits: HostLimits = QUIET,
    vault: VaultTarget | None = None,
) -> None:
    """Let the check look at a host whose commands answer as `tools` say."""
    place = work.directory / "tools"
    place.mkdir()
    for name, script in tools.items():
        (place / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (place / name).chmod(0o755)
    target = work.target.model_copy(
        update={
            "host": HostTarget(address="local://", limits=limits),
            "services": services,
            "smoke": (),
            "vault": vault,
            "backups": work.target.backups.model_copy(
                update={"directory": None, "source": HostSource(kind="host", path=str(work.backups))}
            ),
            "limits": work.target.limits.model_copy(
                update={"stall_seconds": STALL_S, "files": 2000, "fetch_seconds": 60}
            ),
        }
    )
    work.judge = lambda check_id: _judged(check_id, target, Local(f"{place}:{BASE_ENV['PATH']}"), work)


def _judged(check_id: str, target: Target, way: Local, work: Workspace) -> Judgement:
    with Owner("fault-live") as owner:
        host = Host(way, owner)
        fetcher = Fetcher(
            HostDirectory(host, str(work.backups)),
            owner.directory("fetched"),
            target.limits,
            lambda _text: None,
        )
        seen = Production(
            target=target,
            clock=CLOCK,
            report=lambda _text: None,
            host=host,
            directory=fetcher.directory,
            fetcher=fetcher if check_id in {"DR-01", "DR-03"} else None,
        )
        seen.look()
        seen.list()
        seen.fetch(work.now)
        seen.afterwards()
        live = seen.facts
        unknown = tuple(
            ServiceFacts(name=item.name, kind=item.kind, healthy=None, detail="not here")
            for item in target.services
        )
        answers = seen.services(unknown)
    if check_id == "DR-01":
        return of_all(target, live, lambda: Judgement(()))
    if check_id == "DR-03":
        return of_newest(live, lambda: Judgement(()))
    if check_id == "DR-05":
        return of_services(target, live, answers, ())
    if check_id == "DR-06":
        return judge_vault_in_place(live)
    raise TargetError(f"{check_id} can't be exercised here")


ODOO = Service(name="smarter-odoo", kind="container")
UNIT = Service(name="odoo", kind="systemd", unit="odoo.service")


def _answers(
    id_: str, title: str, code: str, *, service: Service = ODOO, verdict: Verdict = Verdict.FAIL, **tools: str
) -> None:
    """Register a fault that is one command's answer."""

    @fault(id_, title, "host", caught("DR-05", code, service.name, verdict=verdict))
    def inject(work: Workspace) -> None:
        _host(work, HEALTHY | tools, (service,))


def _state(text: str, count: int = 0) -> str:
    return _print(f"{text} {count}")


_answers("F510", "A container restarts again and again", "service-restarting",
         docker=_state('{"Status":"restarting","Running":true,"Restarting":true,"StartedAt":"x"}', 7))  # fmt: skip
_answers("F510b", "A container was started anew during the drill", "service-restarting",
         docker="n=$(date +%N); "
                'printf \'{"Status":"running","Running":true,"StartedAt":"2026-01-01T00:00:00.%sZ","Health":'
                '{"Status":"healthy"}} 0\\n\' "$n"')  # fmt: skip
_answers("F510c", "A unit fell over seven times, the last time seconds ago", "service-restarting", service=UNIT,
         systemctl=_print(_unit(NRestarts="7", ActiveEnterTimestampMonotonic="899990000000")))  # fmt: skip
_answers("F511", "A container is unhealthy by its own check", "service-unhealthy",
         docker=_print(RUNNING.replace('"healthy"', '"unhealthy"')))  # fmt: skip
_answers("F511b", "A container runs and has no health check", "service-unknown", verdict=NOT_PROVEN,
         docker=_state('{"Status":"running","Running":true,"StartedAt":"2026-01-01T00:00:00Z"}'))  # fmt: skip
_answers("F511c", "A container that is declared does not exist", "service-unhealthy",
         docker="echo 'Error: No such container: smarter-odoo' >&2; exit 1")  # fmt: skip
_answers("F511d", "The engine can't be asked", "service-unknown", verdict=NOT_PROVEN,
         docker="echo 'permission denied while trying to connect' >&2; exit 1")  # fmt: skip
_answers("F511e", "A container has stopped", "service-unhealthy",
         docker=_state('{"Status":"exited","Running":false,"StartedAt":"2026-01-01T00:00:00Z"}'))  # fmt: skip
_answers("F512", "A unit has failed", "service-unhealthy", service=UNIT,
         systemctl=_print(_unit(ActiveState="failed", SubState="failed", Result="exit-code")))  # fmt: skip
_answers("F512b", "A unit is active and nothing of it runs", "service-unknown", service=UNIT, verdict=NOT_PROVEN,
         systemctl=_print(_unit(SubState="exited")))  # fmt: skip
_answers("F512c", "A unit that is declared does not exist", "service-unhealthy", service=UNIT,
         systemctl=_print(_unit(LoadState="not-found", ActiveState="inactive", SubState="dead")))  # fmt: skip
_answers("F517", "What answers in a command's place never stops", "service-unknown", verdict=NOT_PROVEN,
         docker="exec yes")  # fmt: skip


def _machine(id_: str, title: str, code: str, limits: HostLimits, **tools: str) -> None:
    @fault(id_, title, "host", caught("DR-05", code, "local://"))
    def inject(work: Workspace) -> None:
        _host(work, HEALTHY | tools, (ODOO,), limits)


_DF = "printf 'Filesystem 1024-blocks Used Available Capacity Mounted on\\n/dev/sda1 1000000 {0} {1} {2}%% /\\n'"
_machine("F513", "The host's disk is nearly full", "disk-nearly-full", HostLimits(),
         df=_DF.format(970000, 30000, 97))  # fmt: skip
_machine("F513b", "The host's inodes are nearly used up", "inodes-nearly-used", HostLimits(),
         df=f'case "$2" in -i) {_DF.format(990000, 10000, 99)};; *) {_DF.format(10, 999990, 1)};; esac')  # fmt: skip
_machine("F514", "The host has hardly any memory left", "memory-low", HostLimits(disk_used_percent=100),
         cat="printf 'MemTotal: 8000000 kB\\nMemAvailable: 90000 kB\\n'")  # fmt: skip
_machine("F515", "The host's clock is ten minutes off", "clock-skew", HostLimits(disk_used_percent=100),
         date="echo $(( $(/bin/date +%s) - 600 )).0")  # fmt: skip


def healthy(work: Workspace) -> None:
    """Look at a host that nothing is wrong with: what is detected must be the fault, not the looking."""
    _host(work, HEALTHY, (ODOO, UNIT))


# --- public addresses -------------------------------------------------------------------------------------


def _address(
    work: Workspace, kind: str, valid: timedelta, *, trusted: bool = True, host: str = "127.0.0.1"
) -> None:
    """Let a service answer over TLS with a certificate of 127.0.0.1; it is stopped when the check has been made."""
    pair = certificate(work, valid)
    stack = ExitStack()
    url = stack.enter_context(answering(200, pair)).replace("127.0.0.1", host)
    service = Service.model_validate(
        {"name": "demo", "kind": kind, "url": url, "ca_file": pair[0] if trusted else None}
    )
    _host(work, HEALTHY, (service,))
    _closing(work, stack)


def _closing(work: Workspace, stack: ExitStack) -> None:
    judge = work.judge

    def judged(check_id: str) -> Judgement:
        with stack:
            if judge is None:
                raise TargetError("nothing to judge")
            return judge(check_id)

    work.judge = judged


YEAR = timedelta(days=365)


def _public(
    id_: str, title: str, expected: Expectation, kind: str, valid: timedelta = YEAR, **how: object
) -> None:
    @fault(id_, title, "address", expected)
    def inject(work: Workspace) -> None:
        _address(
            work, kind, valid, trusted=how.get("trusted") is not False, host=str(how.get("host", "127.0.0.1"))
        )


_public("F516", "A public certificate has expired",
        caught("DR-05", "certificate-expired", "demo"), "http", timedelta(days=-1))  # fmt: skip
_public("F516b", "A public certificate is of another name",
        caught("DR-05", "certificate-name", "demo"), "http", host="localhost")  # fmt: skip
_public("F516c", "A public certificate is of an unknown authority",
        caught("DR-05", "certificate-untrusted", "demo"), "http", trusted=False)  # fmt: skip
_public("F516d", "A public certificate expires in three days",
        caught("DR-05", "certificate-expires-soon", "demo"), "http", timedelta(days=3))  # fmt: skip
_public("F516e", "Something else answers in Grafana's place",
        caught("DR-05", "service-unhealthy", "demo"), "grafana")  # fmt: skip


@fault(
    "F516f", "A public address does not answer", "address",
    caught("DR-05", "address-unreachable", "demo", verdict=NOT_PROVEN),
)  # fmt: skip
def nobody_answers(work: Workspace) -> None:
    """Name an address at which nobody listens."""
    _host(work, HEALTHY, (Service(name="demo", kind="http", url="http://127.0.0.1:9/"),))


@fault("F530", "The certificate of the Vault in place expires in three days", "Vault",
       caught("DR-06", "certificate-expires-soon", "vault"))  # fmt: skip
def vault_certificate(work: Workspace) -> None:
    """Let a Vault answer that it is well, with a certificate that soon is not."""
    pair = certificate(work, timedelta(days=3))
    stack = ExitStack()
    url = stack.enter_context(answering(200, pair))
    _host(work, HEALTHY, (), vault=VaultTarget(address=url, ca_file=pair[0]))
    _closing(work, stack)


# --- backups on their way ---------------------------------------------------------------------------------


def _fetch(id_: str, title: str, code: str, *, newest: bool = True, mentions: str = "", **tools: str) -> None:
    expected = [caught("DR-01", code, mentions, verdict=NOT_PROVEN)]
    if newest:  # nothing may be concluded from a backup that is not here
        expected.append(caught("DR-03", code, mentions, verdict=NOT_PROVEN))

    @fault(id_, title, "fetch", *expected)
    def inject(work: Workspace) -> None:
        _host(work, tools)


def _entry(path: str, size: int = 1, kind: str = "f") -> str:
    return f"printf '{kind}\\t{size}\\t1\\t1\\t1\\0{path}\\0\\0'"


_fetch(
    "F520", "A name in the listing leads out of the sandbox", "unsafe-name", find=_entry("../../etc/cron.d/x")
)
_fetch("F520b", "The listing never ends", "listing-too-long",
       find="while :; do printf 'f\\t1\\t1\\t1\\t1\\0%s\\0\\0' $((i=i+1)); done")  # fmt: skip
_fetch(
    "F520c", "What answers in the listing's place is no listing", "host-answer-unreadable", find="exec yes"
)
_fetch("F520d", "The backup directory can't be read", "backup-directory-unreadable", find="exit 1")
_fetch("F521", "The stream of a backup stalls for good", "fetch-stalled", tail="exec sleep 60")
_fetch("F521b", "A backup is shorter than its listing says", "source-changed", tail=":")
_fetch("F521c", "A backup is an endless stream", "source-changed", tail="exec cat /dev/zero")
_fetch("F521d", "A backup can't be read", "file-unreadable", tail="echo denied >&2; exit 1")
_fetch("F522", "A backup is larger than the runner's disk", "runner-disk-full",
       find=_entry("huge-20260101_020000.sql.gz", 10**15))  # fmt: skip


@fault("F523", "A backup is written while it is read", "fetch",
       caught("DR-01", "source-changed", verdict=NOT_PROVEN))  # fmt: skip
def written_meanwhile(work: Workspace) -> None:
    """Touch every backup before the second listing."""
    _host(
        work,
        {
            "find": f"[ -e {work.directory}/once ] && /bin/touch {work.newest}/*; : > {work.directory}/once; "
            'exec /usr/bin/find "$@"'
        },
    )
