"""Asks everything that the configuration names, at the same time, and returns one finding for each."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from smos.clock import Clock
from smos.config.store import Config
from smos.errors import SmosError, UnreachableError
from smos.verdict import Finding, fail, not_proven, note

WORKERS = 8
SLACK = timedelta(hours=26)
"""How old the newest backup may be where no target says it: daily, with two hours of slack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that was asked. seconds: how long that took."""

    kind: str
    name: str
    finding: Finding
    seconds: float


Ask = Callable[[], list[tuple[str, Finding]]]
"""Asks, and returns names with their findings."""


def collect(config: Config, clock: Clock, *, mcp: bool) -> tuple[Item, ...]:
    """Ask everything; in the order of the configuration. mcp: also try the providers' credentials."""

    def one(named: tuple[str, Ask]) -> list[Item]:
        kind, ask = named
        began = time.monotonic()
        try:
            found = ask()
        except SmosError as error:  # what can't even be asked is not proven
            code = f"{kind}-silent" if isinstance(error, UnreachableError) else f"{kind}-not-asked"
            found = [(kind, not_proven(code, error.message, error.remedy))]
        seconds = time.monotonic() - began
        return [Item(kind=kind, name=name, finding=finding, seconds=seconds) for name, finding in found]

    with ThreadPoolExecutor(WORKERS) as pool:
        return tuple(item for part in pool.map(one, list(_named(config, clock, mcp=mcp))) for item in part)


def _named(config: Config, clock: Clock, *, mcp: bool) -> Iterator[tuple[str, Ask]]:
    """Yield what the configuration names; a default names nothing."""

    def is_named(name: str) -> bool:
        return config.get(name).origin not in {"default", "unset"}

    if is_named("postgres.dsn"):
        yield "postgres", lambda: _postgres(config)
    if is_named("vault.address"):
        yield "vault", lambda: _vault(config)
    if is_named("docker.host") or is_named("docker.project"):
        yield "services", lambda: _containers(config)
    urls = [str(config.value("deploy.health_url"))] if is_named("deploy.health_url") else []
    urls += [
        word for word in str(config.value("health.urls") or "").replace(",", " ").split() if word not in urls
    ]
    for url in urls:
        yield "endpoint", partial(_endpoint, url, clock)
    if is_named("backups.directory"):
        yield "backups", lambda: _backups(config, clock)
    if mcp or is_named("mcp.registry"):
        yield "mcp", lambda: _mcp(config)


def _postgres(config: Config) -> list[tuple[str, Finding]]:
    from smos.health.postgres import judge_postgres, read_postgres

    facts = read_postgres(str(config.value("postgres.dsn")), config.value("postgres.password"))
    return [(facts.where, judge_postgres(facts))]


def _vault(config: Config) -> list[tuple[str, Finding]]:
    from smos.checks.dr.vault_health import judge_health
    from smos.config.connect import vault_endpoint
    from smos.vault.health import read_health

    endpoint = vault_endpoint(config)
    judged = judge_health(read_health(endpoint.url, ca=endpoint.ca))
    worst = max(judged.findings, key=lambda item: item.verdict.rank, default=None)
    return [(endpoint.url, worst or note("vault-active", "Vault is initialised, unsealed and active"))]


def _containers(config: Config) -> list[tuple[str, Finding]]:
    from smos.services.containers import judge_container, read_containers
    from smos.services.engine import engine

    project = str(config.value("docker.project"))
    with engine(config.value("docker.host")) as client:
        found = read_containers(client, project)
    if not found:
        text = f"there is no container of the stack {project}"
        return [
            (project, not_proven("stack-empty", text, "smos config set docker.project NAME, or start it"))
        ]
    return [(item.name, judge_container(item)) for item in found]


def _endpoint(url: str, clock: Clock) -> list[tuple[str, Finding]]:
    from smos.live.addresses import ask_address
    from smos.live.declared import Service

    state = ask_address(Service(name=url[:255], kind="http", url=url), clock)
    if state.healthy is None:
        text = f"{url} gave no answer: {state.detail}"
        return [(url, not_proven(state.code or "address-unreachable", text, "see whether it runs"))]
    if not state.healthy:
        return [(url, fail(state.code or "address-unhealthy", f"{url}: {state.detail}", "see its log"))]
    certificate = state.certificate
    if certificate is not None and certificate.days_left < certificate.due_days:
        text = f"{url}: its certificate ends in {certificate.days_left:.0f} days"
        return [(url, fail("certificate-ends-soon", text, "renew it"))]
    return [(url, note("address-healthy", f"{url}: {state.detail}"))]


def _backups(config: Config, clock: Clock) -> list[tuple[str, Finding]]:
    from smos.backup.catalog import read_catalog

    directory = Path(str(config.value("backups.directory"))).expanduser()
    catalog = read_catalog(directory, timezone="UTC")
    name = str(directory)
    stamps = [item.stamp for item in catalog.sets if item.stamp is not None and item.stamp <= clock.now()]
    if not stamps:
        return [(name, fail("no-backup", f"{name} holds no backup set", "smos backup create"))]
    age = clock.now() - max(stamps)
    hours = age.total_seconds() / 3600
    if age > SLACK:
        text = f"the newest backup set in {name} is {hours:.0f} hours old"
        return [(name, fail("backup-old", text, "see why the job that takes backups did not"))]
    return [
        (
            name,
            note(
                "backup-recent", f"the newest set is {hours:.1f} hours old (`smos backup verify` proves it)"
            ),
        )
    ]


def _mcp(config: Config) -> list[tuple[str, Finding]]:
    from smos.config.connect import vault_of
    from smos.mcp.judge import judge_provider
    from smos.mcp.probe import probe_all
    from smos.vault.providers import load_registry

    named = config.value("mcp.registry")
    access = vault_of(config)
    providers = load_registry(Path(named) if named else None).providers
    facts = probe_all(access.endpoint, access.token, providers, mount=config.value("vault.mount"))
    return [(item.name, judge_provider(item)) for item in facts]
