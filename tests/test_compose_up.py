"""The users' own stacks, started by Compose from local images as the quick start says, twice, and taken down again."""

import json
import time
import uuid

import httpx
import psycopg
import pytest

from smos.observability.clickhouse import ClickHouse
from smos.observability.emit import Emitter
from smos.provision.telemetry import ClickHouseEndpoint, CollectorEndpoint
from smos.wait import wait_for
from tests._stack_kit import Stack, stack_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LONG_S = 180
"""Against hangs, on a machine that others load."""
KEY = "ab12" * 8
DONE = "/tmp/done"  # noqa: S108  (in the container)
EVENT = uuid.uuid4().hex


def test_the_vault_stack_is_set_up_survives_down_and_up_and_leaves_nothing() -> None:
    with stack_of("vault", {}) as stack:
        stack.up()
        first = stack.exec("vault", "/vault-init.sh")
        assert first.returncode == 0, first.stderr
        assert "initialised; 5 key shares" in first.stdout
        shares = json.loads(stack.exec("vault", "cat", "/vault/escrow/escrow.json").stdout)
        assert len(shares["key_shares"]) == 5
        assert shares["root_token"] is None
        assert not any(share in first.stdout for share in shares["key_shares"])
        wait_for(lambda: healthy(stack, "vault"), what="Vault is healthy", deadline_s=LONG_S)

        stack.compose("down")
        stack.up()
        assert json.loads(stack.exec("vault", "cat", "/vault/escrow/escrow.json").stdout) == shares
        again = stack.exec("vault", "/vault-init.sh")
        assert "all was set up before; nothing was changed" in again.stdout, again.stderr
        assert stack.exec("vault", "vault", "status").returncode == 0
        assert stack.exec("vault", "id", "-u").stdout.strip() == "100"
        assert stack.weaknesses() == set()

        stack.compose("down", "--volumes")
        assert stack.left() == []


def test_the_demo_stack_is_seeded_cleaned_up_and_asks_for_its_passwords() -> None:
    names = ("POSTGRES", "APP", "READONLY", "MAINTENANCE", "SEEDER", "AUTHENTICATOR")
    settings = {f"DEMO_{name}_PASSWORD": f"{name}$pass {name}" for name in names}
    with stack_of("demo", {**settings, "DEMO_N8N_ENCRYPTION_KEY": "k" * 24}, without=("demo-n8n",)) as stack:
        for _ in range(2):
            stack.up()
            wait_for(
                lambda: stack.state("demo-seeder")["Status"] == "exited", what="seeded", deadline_s=LONG_S
            )
            assert stack.state("demo-seeder")["ExitCode"] == 0, stack.compose("logs", "demo-seeder")
            assert "15" in stack.compose("logs", "demo-seeder")
            wait_for(
                lambda: stack.exec("demo-cleanup", "test", "-f", DONE).returncode == 0,
                what="the clean-up has run",
                deadline_s=LONG_S,
            )
            count = ("psql", "-U", "postgres", "-d", "demo", "-tAc", "SELECT count(*) FROM demo.products")
            assert stack.exec("demo-postgres", *count).stdout.strip() == "15"
            assert login(stack, "demo_readonly", settings["DEMO_READONLY_PASSWORD"]) == "demo_readonly"
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                login(stack, "demo_readonly", "demo_readonly")
            stack.compose("down")
        stack.up()
        # Its public image begins as root, takes the volume over and becomes its user; to look in is to look in as root.
        assert stack.weaknesses() <= {
            ("demo-postgres", code)
            for code in ("container-root", "container-capabilities", "container-not-seen")
        }
        owner = stack.exec("demo-postgres", "stat", "--format", "%U %a", "/var/lib/postgresql/18/docker")
        assert owner.stdout.split() == ["postgres", "700"]
        stack.compose("down", "--volumes")
        assert stack.left() == []


def test_the_observability_stack_carries_telemetry_and_keeps_it_over_a_restart() -> None:
    settings = {
        "SENTRY_SECRET_KEY": "f0e1d2c3" * 8,
        "SENTRY_DSN": f"http://{KEY}@localhost:8000/1",
        "GRAFANA_PASSWORD": "a password of $value",
        "CLICKHOUSE_NOFILE": "4096",  # where the engine itself may open no more
    }
    with stack_of("observability", settings, without=("smarter-grafana",)) as stack:
        stack.up()
        otlp = stack.address("smarter-otelcol", 4318)
        collector = CollectorEndpoint(grpc=stack.address("smarter-otelcol", 4317), http=f"http://{otlp}")
        health = f"http://{stack.address('smarter-otelcol', 13133)}/"
        wait_for(lambda: answers(health), what="the collector is healthy", deadline_s=LONG_S)
        with Emitter(collector, run="stack") as emitter:
            assert emitter.spans(50).accepted == 50
        with clickhouse(stack, settings) as client:
            wait_for(lambda: spans(client) == 50, what="the spans are stored", deadline_s=LONG_S)
        prometheus = f"http://{stack.address('smarter-prometheus', 9090)}"
        wait_for(lambda: scraped(prometheus), what="Prometheus scrapes the collector", deadline_s=LONG_S)
        alerts = f"http://{stack.address('smarter-alertmanager', 9093)}/-/ready"
        wait_for(lambda: answers(alerts), what="Alertmanager is ready", deadline_s=LONG_S)

        wait_for(
            lambda: stack.state("smarter-sentry-project")["Status"] == "exited",
            what="Sentry's project is made",
            deadline_s=LONG_S,
        )
        assert stack.state("smarter-sentry-project")["ExitCode"] == 0
        sentry = f"http://{stack.address('smarter-sentry', 8000)}"
        assert send_error(sentry, KEY).status_code == 200
        assert send_error(sentry, "0" * 32).status_code in {401, 403}
        assert events(stack) == "1"

        stack.compose("down")
        stack.up()
        wait_for(lambda: answers(health), what="the collector is healthy again", deadline_s=LONG_S)
        with clickhouse(stack, settings) as client:
            assert spans(client) == 50
        wait_for(lambda: healthy(stack, "smarter-sentry"), what="Sentry is healthy again", deadline_s=LONG_S)
        assert events(stack) == "1"
        # The collector's image holds nothing else, so nothing that could look.
        assert stack.weaknesses() == {("smarter-otelcol", "container-not-seen")}
        stack.compose("down", "--volumes")
        assert stack.left() == []


def healthy(stack: Stack, service: str) -> bool:
    health = stack.state(service)["Health"]
    assert isinstance(health, dict)
    return bool(health["Status"] == "healthy")


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def login(stack: Stack, user: str, password: str) -> str:
    host, _, port = stack.address("demo-postgres", 5432).partition(":")
    with psycopg.connect(
        host=host, port=int(port), dbname="demo", user=user, password=password
    ) as connection:
        return str(connection.execute("SELECT current_user").fetchall()[0][0])


def clickhouse(stack: Stack, settings: dict[str, str]) -> ClickHouse:
    url = f"http://{stack.address('smarter-clickhouse', 8123)}"
    return ClickHouse(ClickHouseEndpoint(url=url, user="otel", password=settings["GRAFANA_PASSWORD"]))


def spans(client: ClickHouse) -> int:
    return int(client.value("SELECT count() FROM otel_traces WHERE ResourceAttributes['smos.run'] = 'stack'"))


def scraped(prometheus: str) -> bool:
    ask = {"params": {"query": 'up{job="otelcol"}'}, "timeout": 60, "trust_env": False}
    try:
        answer = httpx.get(f"{prometheus}/api/v1/query", **ask)
    except httpx.TransportError:  # its port is open before it is
        return False
    result = answer.json()["data"]["result"] if answer.is_success else []
    return bool(result) and result[0]["value"][1] == "1"


def send_error(sentry: str, key: str) -> httpx.Response:
    event = {
        "event_id": EVENT,
        "timestamp": time.time(),
        "platform": "python",
        "level": "error",
        "message": "stack",
    }
    body = f'{{"event_id": "{EVENT}"}}\n{{"type": "event"}}\n{json.dumps(event)}\n'
    header = {"X-Sentry-Auth": f"Sentry sentry_version=7, sentry_client=test/1, sentry_key={key}"}
    return httpx.post(f"{sentry}/api/1/envelope/", content=body, headers=header, timeout=60, trust_env=False)


def events(stack: Stack) -> str:
    code = "from events.models import Event; print('events', Event.objects.count())"
    said = stack.exec("smarter-sentry", "bugsink-manage", "shell", "--command", code)
    return next(line.split()[1] for line in said.stdout.splitlines() if line.startswith("events "))
