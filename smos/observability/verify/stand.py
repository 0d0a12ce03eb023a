"""Private servers of the suite, as shipped unless a recipe says otherwise: ClickHouse, collector, PostgreSQL, Bugsink.

Each part starts when it is asked for and is ended with its owner. Faults change the recipe, never the check.
"""

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import httpx
from ruamel.yaml import YAML

from smos.errors import SmosError
from smos.observability.clickhouse import ClickHouse
from smos.observability.verify.subject import Subject
from smos.provision.owner import Owner
from smos.provision.telemetry import ClickHouseEndpoint, Collector, CollectorEndpoint
from smos.provision.telemetry_servers import EMBEDDED_TELEMETRY, TelemetryServers

if TYPE_CHECKING:
    from smos.provision.embedded.bugsink import EmbeddedBugsink
    from smos.provision.embedded.clickhouse import EmbeddedClickHouse
    from smos.provision.embedded.postgres import EmbeddedPostgres

TTL = "72h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a stack is made; the defaults are what is shipped. Everything else is for destructive checks and faults.

    environment: variables of the collector's configuration. configure: changes the parsed configuration in place.
    prepare: what is done to ClickHouse before the collector starts. between: puts something between collector and
    ClickHouse and gives the endpoint that the collector is told. front: likewise between senders and collector.
    servers: programs of this machine, or containers.
    """

    ttl: str = TTL
    environment: Mapping[str, str] = field(default_factory=dict)
    configure: Callable[[dict[str, Any]], object] | None = None
    prepare: Callable[[ClickHouse], object] | None = None
    between: Callable[[ClickHouseEndpoint], AbstractContextManager[ClickHouseEndpoint]] | None = None
    front: Callable[[CollectorEndpoint], AbstractContextManager[CollectorEndpoint]] | None = None
    servers: TelemetryServers = EMBEDDED_TELEMETRY


SHIPPED = Recipe()


class Stand:
    """One stack. `subject` starts ClickHouse and the collector; `postgres` and `bugsink` start on demand.

    close: ends what stands between the servers, and the servers (the owner would end them as well).
    beside: another stack whose ClickHouse is used, with a database of this stack's own: for what does not strike the
    server itself. One more server costs a second, one more database nothing.
    """

    def __init__(
        self, owner: Owner, *, name: str = "stack", recipe: Recipe = SHIPPED, beside: "Stand | None" = None
    ) -> None:
        self.owner, self.name, self.recipe = owner, name, recipe
        self._beside = beside
        self._between = ExitStack()
        self._breakable: dict[str, Stand] = {}
        self._holder: Stand | None = None

    @cached_property
    def clickhouse(self) -> "EmbeddedClickHouse":
        """ClickHouse, started; beside another stack: that one's. Raises ProvisionError."""
        if self._beside is not None:
            return self._beside.clickhouse
        server = self.recipe.servers.clickhouse(self.owner, name=f"{self.name}-clickhouse")
        server.start()
        return server

    @cached_property
    def store(self) -> ClickHouseEndpoint:
        """Where its tables are."""
        endpoint = self.clickhouse.endpoint
        if self._beside is None:
            return endpoint
        endpoint = replace(endpoint, database=f"otel_{secrets.token_hex(8)}")
        self._between.callback(self._beside.clean, endpoint)
        return endpoint

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The real collector's configuration, parsed: the shipped one, changed by the recipe."""
        from smos.provision.embedded.otelcol_build import configuration

        given: dict[str, Any] = YAML().load(configuration())
        if self.recipe.configure is not None:
            self.recipe.configure(given)
        return given

    @cached_property
    def collector(self) -> Collector:
        """The collector, started after ClickHouse: the real one where it was built, else rotel."""
        from smos.provision.embedded.otelcol_build import configuration
        from smos.provision.embedded.rotel import EmbeddedRotel

        recipe, clickhouse = self.recipe, self.store
        if recipe.prepare is not None:
            with ClickHouse(clickhouse) as client:
                recipe.prepare(client)
        if recipe.between is not None:
            clickhouse = self._between.enter_context(recipe.between(clickhouse))
        server: Collector
        if not recipe.servers.has_otelcol():
            server = EmbeddedRotel(self.owner, clickhouse, name=f"{self.name}-rotel", ttl=recipe.ttl)
        else:
            config = configuration()
            if recipe.configure is not None:
                config = self.owner.directory(f"{self.name}-config", read_only=True) / "config.yaml"
                with config.open("w", encoding="utf-8") as file:
                    YAML().dump(self.configuration, file)
            server = recipe.servers.otelcol(
                self.owner,
                clickhouse,
                name=f"{self.name}-otelcol",
                ttl=recipe.ttl,
                environment=recipe.environment,
                config=config,
            )
        server.start()
        return server

    @cached_property
    def subject(self) -> Subject:
        """What a check is told: where senders send, and where rows are read."""
        collector = self.collector.endpoint
        if self.recipe.front is not None:
            collector = self._between.enter_context(self.recipe.front(collector))
        return Subject(
            collector=collector,
            clickhouse=self.store,
            capabilities=self.collector.capabilities,
        )

    @cached_property
    def postgres(self) -> "EmbeddedPostgres":
        """A PostgreSQL for instrumented services, started."""
        server = self.recipe.servers.base.postgres(self.owner, name=f"{self.name}-postgres")
        server.start()
        return server

    @cached_property
    def bugsink(self) -> "EmbeddedBugsink":
        """A Sentry-protocol server, started."""
        server = self.recipe.servers.bugsink(self.owner, name=f"{self.name}-bugsink")
        server.start()
        return server

    def breakable(self, name: str = "breakable") -> "Stand":
        """Return a stack whose ClickHouse may be killed and frozen, running; put others beside it, one at a time.

        It is kept: a database of one's own is as good as a server of one's own, where nobody else is on it.
        """
        if name not in self._breakable:
            made = self._breakable[name] = Stand(
                self.owner, name=name, recipe=Recipe(servers=self.recipe.servers)
            )
            made._holder = self
        stand = self._breakable[name]
        stand.clickhouse.start()  # where it runs, nothing is done
        return stand

    def end_breakable(self, name: str) -> None:
        """End a breakable stack; who asks for it again gets a fresh one. Nothing where there is none."""
        stand = self._breakable.pop(name, None)
        if stand is not None:
            stand.close()

    def clean(self, endpoint: ClickHouseEndpoint) -> None:
        """Drop a database that a user of its ClickHouse had there; a breakable one is left running, or ended.

        It never raises for a ClickHouse that can't be cleaned: the user's own result, or error, is what counts.
        """
        holder = self._holder
        try:
            if holder is not None:
                self.clickhouse.start()  # runs already, unless something broke off
            with ClickHouse(endpoint) as client:
                client.execute(f"DROP DATABASE IF EXISTS {endpoint.database}", in_database=False)
        except (SmosError, httpx.HTTPError):
            # Whoever comes next must not meet what is wrong with it. One that is no breakable stays: what is left
            # there has a name that nobody else uses, and ends with it; a check that needs it says how it is.
            if holder is not None:
                holder.end_breakable(self.name)

    def close(self) -> None:
        """End it; the parts that were never asked for were never started. Each is ended, whatever another one says."""
        own = ("collector", "postgres", "bugsink", *(("clickhouse",) if self._beside is None else ()))
        with ExitStack() as ending:  # from the last to the first
            ending.callback(self._between.close)  # goes last: a database whose collector lives comes back
            for part in reversed(own):
                server = self.__dict__.get(part)
                if server is not None:
                    ending.callback(server.kill)
            while self._breakable:
                ending.callback(self._breakable.popitem()[1].close)
