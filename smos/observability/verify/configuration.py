"""OBS-06: the shipped collector configuration, checked by the collector itself, beside what builds and runs it.

It runs in a collector of its own, with another retention than the default and into a database of its own, so that
what listens and what the tables keep is seen and not read.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smos.compose.variables import shipped
from smos.errors import ProvisionError
from smos.observability.clickhouse import ClickHouse
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.listening import listeners, on_loopback
from smos.observability.verify.probe import Probe, ProbeFacts
from smos.paths import compose_dir

if TYPE_CHECKING:
    from smos.provision.embedded.otelcol import EmbeddedOtelcol

KINDS = ("receivers", "processors", "exporters", "extensions")
SUFFIX = re.compile(r"(receiver|processor|exporter|extension)$")
VARIABLE = re.compile(r"\$\{env:(\w+)(?::-([^}]*))?\}")
REQUIRED = ("SENTRY_SECRET_KEY", "SENTRY_DSN", "GRAFANA_PASSWORD")
TTL_VARIABLE = "TELEMETRY_TTL"
OTHER_TTL_H = 26
"""Hours: no default of anything."""
DATABASE = "smos_configuration"
LOOPBACK = re.compile(r"(https?://)?(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/.*)?")
Loaded = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """compose: the folder of the shipped stack. program: another collector than the one built (faults)."""

    compose: Path
    program: Path | None = None
    narrowed: ClassVar[tuple[str, ...]] = ()


def observe(lab: ObservabilityLab) -> ProbeFacts:
    """Read the shipped files, then let the collector validate and run them. Raises ObservabilityError where live."""
    lab.own()
    options: Options = lab.options or Options(compose=compose_dir())
    place = options.compose / "observability"
    text = (place / "otel-collector-config.yaml").read_text(encoding="utf-8")
    try:
        config, manifest, stack = (
            _loaded(path)
            for path in (
                place / "otel-collector-config.yaml",
                place / "builder.yml",
                options.compose / "observability.yml",
            )
        )
    except YAMLError as error:
        return ProbeFacts(probes=(Probe(claim="valid", holds=False, seen=f"no YAML: {error}"[:300]),))
    probes = [
        *_components(config, manifest, stack),
        *_addresses(config, stack),
        *_retention(config, text, stack, lab.target.retention_hours),
        *_secrets(options.compose),
        *_running(lab, options),
    ]
    return ProbeFacts(probes=tuple(probes), details={"release": str(manifest["dist"]["version"])})


def _components(config: Loaded, manifest: Loaded, stack: Loaded) -> Iterator[Probe]:
    """Compare what is configured, what pipelines use, and what the builder builds."""
    for kind in KINDS:
        used = {name.split("/")[0].replace("_", "") for name in config[kind]}
        built = {SUFFIX.sub("", one["gomod"].split()[0].rsplit("/", 1)[-1]) for one in manifest[kind]}
        wrong = [f"{name} is not built" for name in sorted(used - built)]
        wrong += [f"{name} is built for nothing" for name in sorted(built - used)]
        yield Probe(claim="components", holds=not wrong, seen=f"{kind}: {', '.join(wrong or sorted(used))}")
    service = config["service"]
    referred = {name for pipe in service["pipelines"].values() for part in pipe.values() for name in part}
    referred |= set(service["extensions"])
    idle = sorted({name for kind in KINDS for name in config[kind]} - referred)
    yield Probe(
        claim="used", holds=not idle, seen=f"in no pipeline: {', '.join(idle)}" if idle else "all of them"
    )
    version = str(manifest["dist"]["version"])
    versions = {one["gomod"].split()[1].removeprefix("v") for kind in KINDS for one in manifest[kind]}
    image = shipped(stack["services"]["smarter-otelcol"]["image"])
    yield Probe(
        claim="release",
        holds=versions == {version} and image.endswith(f":{version}"),
        seen=f"manifest {version}, modules {', '.join(sorted(versions))}, image {image}",
    )


def _addresses(config: Loaded, stack: Loaded) -> Iterator[Probe]:
    """Resolve every address without an environment; and look at what Compose publishes."""
    for where, value in _endpoints({kind: config[kind] for kind in ("receivers", "extensions", "service")}):
        given = VARIABLE.sub(lambda found: found[2] or "", value)
        yield Probe(
            claim="loopback", holds=LOOPBACK.fullmatch(given) is not None, seen=f"{where}: {given or 'none'}"
        )
    for name, service in stack["services"].items():
        for port in service.get("ports", []):
            yield Probe(claim="published", holds=str(port).startswith("127.0.0.1:"), seen=f"{name}: {port}")


def _endpoints(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key in {"endpoint", "host"} and isinstance(one, str):
                yield f"{where}.{key}".lstrip("."), one
            yield from _endpoints(one, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for one in value:
            yield from _endpoints(one, where)


def _retention(config: Loaded, text: str, stack: Loaded, hours: float) -> Iterator[Probe]:
    given = str(config["exporters"]["clickhouse"].get("ttl", ""))
    found = VARIABLE.fullmatch(given)
    uses = text.count(f"env:{TTL_VARIABLE}")
    yield Probe(
        claim="one-setting",
        holds=found is not None and found[1] == TTL_VARIABLE and uses == 1,
        seen=f"the exporter's ttl is {given}, {TTL_VARIABLE} is used {uses} times",
    )
    default = found[2] if found is not None else given
    composed = str(stack["services"]["smarter-otelcol"]["environment"].get(TTL_VARIABLE, ""))
    right = f"{hours:g}h"
    yield Probe(
        claim="retention",
        holds=default == right and composed in {"", f"${{{TTL_VARIABLE}:-{right}}}"},
        seen=f"{default or 'none'} by default, Compose gives {composed or 'nothing'}; {right} is declared",
    )


def _secrets(compose: Path) -> Iterator[Probe]:
    """Look at how each required secret is asked for: `${NAME:?…}`, never with a default."""
    text = (compose / "observability.yml").read_text(encoding="utf-8")
    for name in REQUIRED:
        uses = re.findall(rf"\$\{{{name}(:?[-?+]|\}})", text)
        asked = bool(uses) and set(uses) <= {":?", "?"}
        yield Probe(
            claim="no-default", holds=asked, seen=f"{name}: {', '.join(sorted(set(uses))) or 'not used'}"
        )


def _running(lab: ObservabilityLab, options: Options) -> Iterator[Probe]:
    """Validate and run it; claims stay without an answer where there is no real collector."""
    stand = lab.own()
    endpoint = replace(stand.clickhouse.endpoint, database=DATABASE)
    config = options.compose / "observability" / "otel-collector-config.yaml"
    try:
        collector = stand.recipe.servers.otelcol(
            stand.owner,
            endpoint,
            name="shipped",
            ttl=f"{OTHER_TTL_H}h",
            config=config,
            program=options.program,
        )
    except ProvisionError as error:
        yield Probe(claim="valid", seen=error.message)
        return
    try:
        collector.validate()
    except ProvisionError as error:
        last = " ".join((error.log or error.message).split())[-300:]
        yield Probe(claim="valid", holds=False, seen=last)
        return
    yield Probe(claim="valid", holds=True, seen="otelcol validate says so")
    with ClickHouse(endpoint) as client:
        client.execute(f"DROP DATABASE IF EXISTS {DATABASE}", in_database=False)
        try:
            collector.start()
            yield _listening(collector)
            yield from _kept(client)
        except ProvisionError as error:
            yield Probe(claim="listens", holds=False, seen=f"it does not start: {error.message}"[:300])
        finally:
            collector.kill()
            with suppress(ProvisionError):
                client.execute(f"DROP DATABASE IF EXISTS {DATABASE}", in_database=False)


def _listening(collector: "EmbeddedOtelcol") -> Probe:
    """Ask the kernel where the collector listens; of a container, the engine where that is published."""
    try:
        found = collector.exposed(listeners(collector.pid) if collector.pid is not None else ())
    except OSError as error:  # only Linux tells it so
        return Probe(claim="listens", seen=f"the kernel does not tell: {error.strerror}")
    outside = [address for address in found if not on_loopback(address)]
    return Probe(
        claim="listens",
        holds=bool(found) and not outside,
        seen=f"{len(found)} listeners, outside loopback: {', '.join(outside) or 'none'}",
    )


def _kept(client: ClickHouse) -> Iterator[Probe]:
    """Look at the time to live of every table that the collector has made."""
    tables = client.rows(
        "SELECT name, create_table_query AS ddl FROM system.tables"
        " WHERE database = {d:String} AND engine LIKE '%MergeTree%'",
        d=DATABASE,
    )
    wrong = [row["name"] for row in tables if f"toIntervalHour({OTHER_TTL_H})" not in row["ddl"]]
    seen = f"{len(tables)} tables, {len(wrong)} keep something else than {OTHER_TTL_H} h"
    yield Probe(
        claim="setting-reaches",
        holds=bool(tables) and not wrong,
        seen=f"{seen}: {', '.join(wrong)}" if wrong else seen,
    )


def _loaded(path: Path) -> Any:
    return YAML(typ="safe").load(path)
