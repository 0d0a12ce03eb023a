"""OBS-10: the collector counts what it does, Vault's metrics are scraped over TLS and are fresh, a drill's can be read.

Vault is a server of its own with a TLS listener; the collector scrapes it with a token that may read metrics and
nothing else, every second instead of every fifteen.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from smos.errors import DeadlineError
from smos.evidence.rto import prometheus_text
from smos.http import trust
from smos.observability.clickhouse import ClickHouse
from smos.observability.verify.example import example
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.probe import Probe, ProbeFacts
from smos.observability.verify.stand import Stand
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.vault.model import opened
from smos.vault.verify.bare import opened_up
from smos.wait import wait_for

SPANS = 777
INTERVAL_S = 1.0
"""Seconds between two scrapes (see QUICK in provision/embedded/otelcol.py)."""
ROUNDING_S = 1.0
"""The exporter stores times of points as whole seconds."""
SEEN_S = REQUEST_S = 120.0
"""Limits against hangs; a wait ends when it is seen, or when enough has passed in which it should have been."""
SCRAPES, READINGS = 5, 10
"""So many more scrapes, or readings of counters, are looked at before something counts as not coming."""
DATABASE = "smos_metrics"
ACCEPTED, SENT = "otelcol_receiver_accepted_spans", "otelcol_exporter_sent_spans"
LOST = ("otelcol_receiver_refused_spans", "otelcol_exporter_send_failed_spans")
UNSEALED, HANDLED = "vault_core_unsealed", "vault_core_handle_request"
DRILL = ("smos_proven", "smos_drill_timestamp_seconds", "smos_rto_actual_seconds", "smos_rpo_actual_seconds")
READ_METRICS = 'path "sys/metrics" { capabilities = ["read"] }'
Counts = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a fault changes. metrics: URL of the collector's metrics. token: what the collector shows Vault.

    before: gives the place (`host:port`) and scheme that are scraped, for Vault's own. drill: gives rto.prom.
    vault: off where nothing is wrong with the scraping (what is not looked at is unproven).
    """

    metrics: str | None = None
    token: str | None = None
    before: Callable[[str, str], tuple[str, str]] | None = None
    drill: Callable[[], str] | None = None
    vault: bool = True

    @property
    def narrowed(self) -> tuple[str, ...]:
        """The part that alone is looked at."""
        return () if self.vault else ("all but Vault",)


def observe(lab: ObservabilityLab) -> ProbeFacts:
    """Read, send, read again; scrape a Vault. Raises ObservabilityError, ProvisionError."""
    options: Options = lab.options or Options()
    details: dict[str, Any] = {}
    own_alone = lab.live or not options.vault
    probes = list(_own(lab, options, details) if own_alone else _vault(lab, options, details))
    probes.append(_drill(options))
    return ProbeFacts(probes=tuple(probes), details=details)


def counted(text: str) -> dict[str, float]:
    """Return metric names with the sum of their values. Raises ValueError where the text is not of the format."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removesuffix("_total")
            found[name] = found.get(name, 0.0) + sample.value
    return found


def _own(lab: ObservabilityLab, options: Options, details: dict[str, Any]) -> Iterator[Probe]:
    url = options.metrics or lab.subject.collector.metrics
    if not url:
        yield Probe(claim="readable", seen="this collector has no metrics of its own")
        return

    def read() -> dict[str, float]:
        answer = httpx.get(url, timeout=REQUEST_S, trust_env=False, verify=trust())
        answer.raise_for_status()
        return counted(answer.text)

    try:
        before = read()
    except ValueError as error:
        yield Probe(claim="readable", holds=False, seen=f"the format's parser says: {str(error)[:120]}")
        return
    yield Probe(claim="readable", holds=bool(before), seen=f"{len(before)} metrics")
    run = lab.run_id()
    with lab.emitter(run) as emitter:
        receipt = emitter.spans(SPANS)
    after, late = before, 0
    stored = "SELECT count() FROM otel_traces WHERE ResourceAttributes['smos.run'] = {r:String}"

    def risen(client: ClickHouse) -> bool:
        """Tell whether they rose; or whether they had time for it since the spans were stored."""
        nonlocal after, late
        after = read()
        late += int(client.value(stored, r=run)) >= receipt.accepted
        rise = [after.get(name, 0.0) - before.get(name, 0.0) for name in (ACCEPTED, SENT)]
        return min(rise) >= receipt.accepted or late > READINGS

    with lab.clickhouse() as client, suppress(DeadlineError):  # how far they rose is what is judged
        wait_for(lambda: risen(client), what="the counters rise", deadline_s=SEEN_S)
    rise = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in (ACCEPTED, SENT, *LOST)}
    details["the collector's counters rose by"] = rise
    for name in (ACCEPTED, SENT):
        # Somebody else may send to a live collector meanwhile.
        right = rise[name] >= receipt.accepted if lab.live else rise[name] == receipt.accepted
        yield Probe(
            claim="counts", holds=right, seen=f"{name} rose by {rise[name]:g} for {receipt.accepted} spans"
        )
    for name in LOST:
        yield Probe(claim="none-lost", holds=rise[name] == 0, seen=f"{name} rose by {rise[name]:g}")


def _drill(options: Options) -> Probe:
    """Read what a drill leaves for Prometheus (rto.prom)."""
    drill = example("smos-example")
    text = options.drill() if options.drill else prometheus_text(drill.info, drill.outcome, drill.timing)
    try:
        missing = [name for name in DRILL if name not in counted(text)]
    except ValueError as error:
        return Probe(claim="drill", holds=False, seen=str(error)[:200])
    return Probe(claim="drill", holds=not missing, seen=", ".join(missing) or "rto.prom")


def _vault(lab: ObservabilityLab, options: Options, details: dict[str, Any]) -> Iterator[Probe]:
    stand = lab.own()
    endpoint = replace(stand.clickhouse.endpoint, database=DATABASE)
    with _scraped_vault(lab) as (own_place, ca, token, ask), ClickHouse(endpoint) as client:
        client.execute(f"DROP DATABASE IF EXISTS {DATABASE}", in_database=False)
        collector = stand.recipe.servers.otelcol(
            stand.owner, endpoint, name="metrics", environment={"SSL_CERT_FILE": ca}
        )
        before = options.before or (lambda place, scheme: (place, scheme))
        place, scheme = before(own_place, "https")
        shown = token.get_secret_value() if options.token is None else options.token
        collector.scrape([place], shown, scheme=scheme)
        collector.start()
        try:
            # The collector waits some five seconds before its first scrape.
            yield from _own(lab, options, details)
            yield from _arriving(client, ask, details)
        finally:
            collector.kill()


def _arriving(client: ClickHouse, ask: Callable[[], object], details: dict[str, Any]) -> Iterator[Probe]:
    up = "SELECT argMax(Value, TimeUnix) FROM otel_metrics_gauge WHERE MetricName = 'up' HAVING count() > 0"
    if _seen(lambda: client.rows(up)):
        value = client.value(up)
        yield Probe(claim="scraped", holds=value == 1, seen=f"up is {value:g}")
    else:
        yield Probe(claim="scraped", holds=False, seen="nothing was scraped")
        return
    if value != 1:
        return
    # Two series at every moment: one from before Vault was unsealed, without a cluster's name, which stays 0.
    newest = "argMax(Value, (TimeUnix, Value))"
    sealed = f"SELECT {newest} FROM otel_metrics_gauge WHERE MetricName = '{UNSEALED}' HAVING count() > 0"  # noqa: S608  (names of ours)
    there = _soon(client, lambda: client.rows(sealed))
    yield Probe(claim="needed", holds=there and client.value(sealed) == 1, seen=UNSEALED)
    handled = f"SELECT max(Count) FROM otel_metrics_summary WHERE MetricName = '{HANDLED}'"  # noqa: S608  (a name of ours)
    before = float(client.value(handled))
    for _ in range(10):
        ask()
    rises = _soon(client, lambda: float(client.value(handled)) >= before + 10)
    yield Probe(claim="vault-counts", holds=rises, seen=f"{HANDLED} rises with requests")
    # Age of the newest sample of a metric of Vault's own, not of `up`, which the scraper makes.
    age_sql = f"SELECT toUnixTimestamp64Milli(toDateTime64(max(TimeUnix), 3)) / 1000 FROM otel_metrics_gauge WHERE MetricName = '{UNSEALED}'"  # noqa: S608, E501  (a name of ours)
    limit = 2 * INTERVAL_S + ROUNDING_S
    ages: list[float] = []

    if not there:
        yield Probe(claim="fresh", seen=f"no sample of {UNSEALED} is there")
        return

    def fresh() -> bool:
        ages.append(time.time() - float(client.value(age_sql)))  # two moments of one machine's clock
        return ages[-1] <= limit

    first = _soon(client, fresh)
    goes_on = _seen(lambda: _scrapes(client) >= 3)
    details["age of Vault's newest sample, seconds"] = round(min(ages), 2)
    yield Probe(
        claim="fresh", holds=first and goes_on, seen=f"{min(ages):.1f} s old, {limit:g} s are allowed"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scraped:
    """A Vault that is scraped. place: `host:port`. ca: its authority's file. token: may read its metrics."""

    server: EmbeddedOpenBao
    place: str
    ca: str
    token: SecretStr
    root: SecretStr


_SCRAPED: WeakKeyDictionary[Stand, _Scraped] = WeakKeyDictionary()
"""One for each stack, as long as its owner: it is only read, and each collector that scrapes it starts anew."""


@contextmanager
def _scraped_vault(
    lab: ObservabilityLab,
) -> Iterator[tuple[str, str, SecretStr, Callable[[], object]]]:
    """Yield a Vault's `host:port`, its authority's file, a token for its metrics, and a request that it counts."""
    stand = lab.own()
    if stand not in _SCRAPED:
        _SCRAPED[stand] = _stood_up(stand)
    found = _SCRAPED[stand]
    with opened(found.server.endpoint, found.root.get_secret_value()) as client:
        yield found.place, found.ca, found.token, client.auth.token.lookup_self


def _stood_up(stand: Stand) -> _Scraped:
    from smos.provision.certificates import make_certificate

    owner = stand.owner
    tls = make_certificate(owner, owner.directory("scraped-tls", read_only=True))
    make = stand.recipe.servers.base.openbao
    server = make(owner, name="scraped", storage="inmem", memory=True, audit=False, tls=tls)
    server.start()
    with opened(server.endpoint) as client:
        keys = opened_up(client)
        client.sys.create_or_update_acl_policy("metrics", READ_METRICS, pretty_print=False)
        made = client.auth.token.create_orphan(policies=["metrics"], ttl="12h")
    return _Scraped(
        server=server,
        place=server.tls_endpoint.url.removeprefix("https://"),
        ca=str(tls.ca),
        token=SecretStr(str(made["auth"]["client_token"])),
        root=SecretStr(keys.root),
    )


def _scrapes(client: ClickHouse) -> int:
    """Count the scrapes of which something is stored; `up` is made by the scraper, by its own clock."""
    return int(client.value("SELECT uniqExact(TimeUnix) FROM otel_metrics_gauge WHERE MetricName = 'up'"))


def _soon(client: ClickHouse, look: Callable[[], object]) -> bool:
    """Wait until it is seen, or was not in some more scrapes; tell whether it was."""
    first = _scrapes(client)
    seen = False

    def decided() -> bool:
        nonlocal seen
        passed = _scrapes(client) - first  # before the look: what these brought is seen by it
        seen = bool(look())
        return seen or passed > SCRAPES

    return _seen(decided) and seen


def _seen(look: Callable[[], object]) -> bool:
    try:
        wait_for(look, what="it is seen", deadline_s=SEEN_S)
    except DeadlineError:
        return False  # the probe that follows says what was not seen
    return True
