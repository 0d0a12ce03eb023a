"""What a drill has to do with production: look at it before and after, and bring its backups over. Never a write."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from smos.clock import Clock
from smos.drill.record import ServiceFacts
from smos.live.addresses import ask_address
from smos.live.declared import HostSource, HostTarget, Service
from smos.live.errors import LiveError
from smos.live.facts import CertificateFacts, HostFacts, LiveFacts
from smos.live.fetch import Fetcher
from smos.live.host import Host
from smos.live.observe import ServiceState, observe, state_of
from smos.live.sources import Remote, open_source
from smos.live.sources.base import Entry
from smos.live.transport import transport_of
from smos.provision.owner import Owner
from smos.target import Settings, Target
from smos.vault.health import HealthFacts, read_health
from smos.verdict import Problem

ON_HOST = frozenset({"container", "systemd"})
IN_PUBLIC = frozenset({"http", "grafana", "sentry", "otlp"})
Report = Callable[[str], None]


@dataclass(slots=True)
class Production:
    """One look at production. directory: where its backups are brought to; None where they lie on this machine."""

    target: Target
    clock: Clock
    report: Report
    host: Host | None
    directory: Path | None
    fetcher: Fetcher | None
    refused: Problem | None = None
    """Why the host could not be connected to, or the backups' place not be opened."""
    _before: dict[str, ServiceState] = field(default_factory=dict)
    _after: dict[str, ServiceState] = field(default_factory=dict)
    _seen: HostFacts | None = None
    _certificates: list[CertificateFacts] = field(default_factory=list)
    _public: dict[str, ServiceFacts] = field(default_factory=dict)
    _vault: HealthFacts | None = None
    _vault_certificate: CertificateFacts | None = None

    def look(self) -> None:
        """Look at the services for the first time; what restarts until the second time is no healthy service."""
        if self.host is not None:
            self.report(f"looking at {self.host.transport.shown}: read only, commands of the list alone")
            self._before = self._services()

    def list(self) -> None:
        """Read the listing of the backups."""
        if self.fetcher is not None:
            self.report("listing the backups")
            self.fetcher.list()

    def fetch(self, now: datetime) -> None:
        """Bring the newest set over."""
        if self.fetcher is not None:
            self.report("fetching the newest set")
            self.fetcher.newest(now, self.target.backups.schedule.timezone)

    def afterwards(self) -> None:
        """Bring the other sets over, and look at host, services, public addresses and Vault."""
        if self.fetcher is not None:
            self.report("after the clock: fetching the other sets")
            self.fetcher.rest()
        if self.host is not None and self.target.host is not None:
            self._after = self._services()
            self._seen = observe(self.host, self.target.host, self._paths(), self.clock)
        for service in self.target.services:
            if service.kind in IN_PUBLIC:
                self._ask(service)
        vault = self.target.vault
        if vault is not None and vault.address is not None:
            self._vault = read_health(vault.address, ca=vault.ca_file)
            if vault.address.startswith("https://"):
                self._vault_certificate = ask_address(
                    Service(
                        name="vault",
                        kind="http",
                        url=f"{vault.address.rstrip('/')}/v1/sys/health",
                        ca_file=vault.ca_file,
                    ),
                    self.clock,
                ).certificate

    def services(self, sandbox: tuple[ServiceFacts, ...]) -> tuple[ServiceFacts, ...]:
        """Return the services' answers: of the sandbox where it was asked, else of production."""
        declared = {service.name: service for service in self.target.services}
        return tuple(self._answer(declared[facts.name], facts) for facts in sandbox)

    @property
    def facts(self) -> LiveFacts:
        """Everything that was seen."""
        seen = self._seen
        if self.host is not None:
            seen = replace(seen, commands=self.host.commands) if seen else seen
        elif self.target.host is not None:
            seen = _unseen(self.target.host, self.refused)
        fetched = self.fetcher.facts if self.fetcher else None
        return LiveFacts(
            host=seen,
            fetch=fetched,
            certificates=tuple(self._certificates),
            vault=self._vault,
            vault_certificate=self._vault_certificate,
        )

    def _services(self) -> dict[str, ServiceState]:
        if self.host is None:
            return {}
        return {
            service.name: state_of(self.host, service, self.clock)
            for service in self.target.services
            if service.kind in ON_HOST
        }

    def _paths(self) -> tuple[str, ...]:
        host, source = self.target.host, self.target.backups.source
        declared = host.paths if host else ()
        return (*declared, *((source.path,) if isinstance(source, HostSource) else ()))

    def _ask(self, service: Service) -> None:
        state = ask_address(service, self.clock)
        if state.certificate is not None:
            self._certificates.append(state.certificate)
        self._public[service.name] = ServiceFacts(
            name=service.name, kind=service.kind, healthy=state.healthy, detail=state.detail, code=state.code
        )

    def _answer(self, service: Service, sandbox: ServiceFacts) -> ServiceFacts:
        if service.kind in IN_PUBLIC:
            return self._public.get(service.name, sandbox)
        if service.kind not in ON_HOST:
            return sandbox
        if self.host is None or self.target.host is None:
            why = self.refused.detail if self.refused else "the target names no host"
            return replace(sandbox, healthy=None, detail=why)
        first, last = self._before.get(service.name), self._after.get(service.name)
        if last is None:
            return replace(sandbox, healthy=None, detail="it was not asked")
        loop = restart_loop(
            first, last, self.target.host.limits.restarts, self.target.host.limits.settled_minutes * 60
        )
        if loop:
            return replace(sandbox, healthy=False, detail=loop, code="service-restarting")
        return replace(sandbox, healthy=last.healthy, detail=last.detail)


def restart_loop(first: ServiceState | None, last: ServiceState, most: int, settled_s: float) -> str:
    """Say how a service restarts again and again; empty where it does not. settled_s: seconds that show it is over."""
    if last.restarting or (first is not None and first.restarting):
        return "it is restarting"
    if first is not None and first.started and last.started and first.started != last.started:
        return "it was started anew while the drill ran"
    young = last.running_s is not None and last.running_s < settled_s
    if last.restarts is not None and last.restarts >= most and young:
        return f"it was restarted {last.restarts} times, the last time {last.running_s or 0:.0f} s ago"
    return ""


def open_production(
    settings: Settings, target: Target, owner: Owner, clock: Clock, report: Report
) -> Production | None:
    """Connect to production where this drill is to look at it; None where it is not.

    What can't be connected to is a fact of the result, never an error: the drill says what is not proven.
    """
    if not settings.live:
        return None
    host, refused = None, None
    if target.host is not None:
        try:
            host = Host(transport_of(target.host, owner, settings.ssh_agent), owner)
            host.open()
        except LiveError as error:
            host, refused = None, error.problem
    fetcher, directory = None, None
    source = target.backups.source
    if source is not None:
        directory = owner.directory("fetched", read_only=True)
        try:
            if isinstance(source, HostSource) and refused is not None:
                remote: Remote = _Nowhere(refused, f"{target.host and target.host.address} {source.path}")
            else:
                remote = open_source(source, host, owner, stall_s=target.limits.stall_seconds)
        except LiveError as error:
            remote = _Nowhere(error.problem, source.kind)
        fetcher = Fetcher(remote, directory, target.limits, report)
    return Production(
        target=target,
        clock=clock,
        report=report,
        host=host,
        directory=directory,
        fetcher=fetcher,
        refused=refused,
    )


class _Nowhere:
    """Stands where the backups' place could not be opened: says why at every question."""

    def __init__(self, problem: Problem, shown: str) -> None:
        self.shown = shown
        self._problem = problem

    def entries(self, *, limit: int, deadline: float) -> Iterator[Entry]:  # noqa: ARG002  (the protocol's)
        """Raise the reason."""
        raise LiveError(self._problem.detail, code=self._problem.code)

    def read(
        self,
        entry: Entry,  # noqa: ARG002  (the protocol's)
        offset: int,  # noqa: ARG002
        *,
        stall_s: float,  # noqa: ARG002
        deadline: float,  # noqa: ARG002
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Raise the reason."""
        raise LiveError(self._problem.detail, code=self._problem.code)


def _unseen(host: HostTarget, refused: Problem | None) -> HostFacts:
    return HostFacts(
        address=host.address,
        clock_offset_s=None,
        clock_uncertainty_s=0.0,
        memory_total=None,
        memory_available=None,
        rooms=(),
        commands=(),
        problems=(refused,) if refused else (),
    )
