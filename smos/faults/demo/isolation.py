"""F240 to F249: a demo that shares something with production, or whose n8n is not well."""

# A fault's docstring says what is broken, and its SQL keeps its lines.
# ruff: noqa: D401, E501

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from psycopg import sql

from smos.demo.stack import PRODUCTION_DATABASE
from smos.faults.demo.workspace import DemoWorkspace
from smos.faults.registry import caught, fault
from smos.verdict import Verdict


@fault("F240", "A role of the demo can log into production", "credentials",
       caught("DEMO-06", "production-entered", "demo_app", PRODUCTION_DATABASE))  # fmt: skip
def same_credentials(work: DemoWorkspace) -> None:
    """The same role with the same password exists there."""
    verifier = _verifier(work, "demo_app")
    work.in_production(
        f"CREATE ROLE demo_app LOGIN PASSWORD '{verifier}'; GRANT CONNECT ON DATABASE {PRODUCTION_DATABASE} TO demo_app",
        f"REVOKE CONNECT ON DATABASE {PRODUCTION_DATABASE} FROM demo_app; DROP ROLE demo_app",
    )


@fault("F240a", "The demo lives in production's cluster", "servers", caught("DEMO-06", "cluster-shared"))
def same_cluster(work: DemoWorkspace) -> None:
    """Another database, the same server."""
    work.take_for_production(work.database.endpoint)


@fault("F240b", "Every role may enter every database of the demo's server", "credentials",
       caught("DEMO-06", "other-database-entered", "demo_app", "postgres"))  # fmt: skip
def connect_everywhere(work: DemoWorkspace) -> None:
    """CONNECT is PUBLIC's by default."""
    work.roles(
        "GRANT CONNECT ON DATABASE postgres TO PUBLIC", "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC"
    )


@fault("F240c", "Another database is on the demo's server", "servers",
       caught("DEMO-06", "other-database-entered", "demo_app", "chatwoot"))  # fmt: skip
def neighbour(work: DemoWorkspace) -> None:
    """Made after the demo was loaded: PUBLIC may enter it again."""
    work.roles("CREATE DATABASE chatwoot STRATEGY file_copy", "DROP DATABASE chatwoot WITH (FORCE)")


@fault("F241", "The application may run programs on the server", "roles",
       caught("DEMO-06", "way-out", "demo_app", "COPY TO PROGRAM"))  # fmt: skip
def programs(work: DemoWorkspace) -> None:
    """pg_execute_server_program."""
    work.roles("GRANT pg_execute_server_program TO demo_app WITH INHERIT TRUE" if work.stack.server.installation.major >= 16
               else "ALTER ROLE demo_app INHERIT; GRANT pg_execute_server_program TO demo_app",
               "REVOKE pg_execute_server_program FROM demo_app; ALTER ROLE demo_app NOINHERIT")  # fmt: skip


@fault(
    "F241a",
    "A foreign server leads out of the demo",
    "links",
    caught("DEMO-06", "link-out", "foreign server"),
)
def foreign_server(work: DemoWorkspace) -> None:
    """postgres_fdw, or any wrapper."""
    work.sql(
        "CREATE FOREIGN DATA WRAPPER elsewhere", "CREATE SERVER produccion FOREIGN DATA WRAPPER elsewhere"
    )


@fault("F241c", "The demo knows how to reach other servers", "links",
       caught("DEMO-06", "link-out", "foreign data wrapper"))  # fmt: skip
def foreign_data_wrapper(work: DemoWorkspace) -> None:
    """Whoever may use it makes a server of it."""
    work.sql("CREATE FOREIGN DATA WRAPPER elsewhere")


@fault("F241b", "The application may make objects beside the demo's", "grants",
       caught("DEMO-06", "way-out", "make objects in public"), caught("DEMO-12", "grant-too-wide", "schema public"))  # fmt: skip
def public_schema(work: DemoWorkspace) -> None:
    """As every PostgreSQL before 15."""
    work.sql("GRANT CREATE ON SCHEMA public TO PUBLIC")


@fault("F242", "A service of the demo is on production's network", "compose",
       caught("DEMO-05", "network-shared", "smarter-network"))  # fmt: skip
def shared_network(work: DemoWorkspace) -> None:
    """An external network."""
    work.edit_compose(
        "\nvolumes:\n  demo-postgres-data:",
        "  smarter-network: {external: true}\n\nvolumes:\n  demo-postgres-data:",
    )


@fault(
    "F242a", "The demo's network has a way out", "compose", caught("DEMO-05", "network-open", "demo-internal")
)
def network_open(work: DemoWorkspace) -> None:
    """internal: true was lost."""
    work.edit_compose("    internal: true\n", "")


@fault(
    "F242b",
    "A service uses the default network",
    "compose",
    caught("DEMO-05", "network-open", "demo-seeder", "default"),
)
def default_network(work: DemoWorkspace) -> None:
    """Which routes to everywhere."""
    work.edit_compose("    networks: [demo-internal]\n    depends_on: {demo-postgres: {condition: service_healthy}}\n"
                      "    healthcheck: {test: [CMD, psql",
                      "    depends_on: {demo-postgres: {condition: service_healthy}}\n    healthcheck: {test: [CMD, psql")  # fmt: skip


@fault(
    "F242c",
    "A service shares the host's network",
    "compose",
    caught("DEMO-05", "host-shared", "demo-n8n", "network_mode"),
)
def host_network(work: DemoWorkspace) -> None:
    """Everything that listens on the host is reached."""
    work.edit_compose(
        "    container_name: demo-n8n\n", "    container_name: demo-n8n\n    network_mode: host\n"
    )


@fault(
    "F243", "A password has a default", "compose", caught("DEMO-05", "password-default", "POSTGRES_PASSWORD")
)
def default_password(work: DemoWorkspace) -> None:
    """Which everybody knows."""
    work.edit_compose("${DEMO_POSTGRES_PASSWORD:?set it in .env}", "${DEMO_POSTGRES_PASSWORD:-postgres}")


@fault(
    "F243a",
    "A password is written in the file",
    "compose",
    caught("DEMO-05", "password-default", "PGPASSWORD"),
)
def written_password(work: DemoWorkspace) -> None:
    """And so in the repository."""
    work.edit_compose("PGPASSWORD: ${DEMO_SEEDER_PASSWORD:?set it in .env}", "PGPASSWORD: changeme")


@fault(
    "F243b",
    "The demo takes production's key",
    "compose",
    caught("DEMO-05", "credential-shared", "N8N_ENCRYPTION_KEY"),
)
def shared_key(work: DemoWorkspace) -> None:
    """The same variable as production's n8n."""
    work.edit_compose("${DEMO_N8N_ENCRYPTION_KEY:?set it in .env}", "${N8N_ENCRYPTION_KEY:?set it in .env}")


@fault("F244", "A port is published to the world", "compose", caught("DEMO-05", "port-exposed", "demo-n8n"))
def port_exposed(work: DemoWorkspace) -> None:
    """Docker opens it past the host's firewall."""
    work.edit_compose('"127.0.0.1:${DEMO_N8N_PORT', '"${DEMO_N8N_PORT')


@fault(
    "F245",
    "A container is privileged",
    "compose",
    caught("DEMO-05", "container-soft", "demo-n8n", "privileged"),
)
def privileged(work: DemoWorkspace) -> None:
    """It owns the host."""
    work.edit_compose(
        "    container_name: demo-n8n\n", "    container_name: demo-n8n\n    privileged: true\n"
    )


@fault("F245a", "A container may write its own file system", "compose",
       caught("DEMO-05", "container-soft", "root file system"))  # fmt: skip
def writable(work: DemoWorkspace) -> None:
    """read_only was lost."""
    work.edit_compose("  read_only: true\n", "")


@fault(
    "F245b", "An image has no exact version", "compose", caught("DEMO-05", "image-not-pinned", "n8n:latest")
)
def latest(work: DemoWorkspace) -> None:
    """Every pull is another program."""
    work.edit_compose("n8nio/n8n:2.41.3", "n8nio/n8n:latest")


@fault("F245c", "A container gets the engine's socket", "compose", caught("DEMO-05", "host-shared", "socket"))
def engine_socket(work: DemoWorkspace) -> None:
    """It owns the host."""
    work.edit_compose('volumes: ["demo-n8n-data:/home/node/.n8n"]',
                      'volumes: ["demo-n8n-data:/home/node/.n8n", "/var/run/docker.sock:/var/run/docker.sock"]')  # fmt: skip


@fault("F245d", "A volume is production's", "compose", caught("DEMO-05", "volume-shared", "demo-n8n-data"))
def shared_volume(work: DemoWorkspace) -> None:
    """The demo's n8n would open production's data."""
    work.edit_compose(
        '  demo-n8n-data: {labels: {<<: *labels, cl.smarterbot.backup: "false"}}',
        "  demo-n8n-data: {external: true, name: n8n_data}",
    )


@fault(
    "F246",
    "The compose file can't be read",
    "compose",
    caught("DEMO-05", "compose-unreadable", verdict=Verdict.NOT_PROVEN),
)
def unreadable(work: DemoWorkspace) -> None:
    """Nothing is known then, which is not green."""
    work.compose = "services: [unclosed"


@fault(
    "F246a",
    "The clean-up's container is gone",
    "compose",
    caught("DEMO-05", "service-missing", "demo-cleanup"),
)
def no_cleanup(work: DemoWorkspace) -> None:
    """Data of visitors stay for ever."""
    start = work.compose.index("  demo-cleanup:")
    work.edit_compose(work.compose[start : work.compose.index("  demo-n8n:")], "")


@fault("F247", "n8n says that it is not ready", "n8n", caught("DEMO-14", "n8n-unhealthy", "ready", "503"))
def n8n_not_ready(work: DemoWorkspace) -> None:
    """The process lives, its database does not."""
    answer_as_n8n(
        work, {"/healthz": (200, b'{"status":"ok"}'), "/healthz/readiness": (503, b'{"status":"error"}')}
    )


@fault("F247a", "Something else answers in n8n's place", "n8n", caught("DEMO-14", "n8n-unhealthy", "healthy"))
def not_n8n(work: DemoWorkspace) -> None:
    """A proxy's page, with status 200."""
    answer_as_n8n(
        work, {"/healthz": (200, b"<html>Welcome</html>"), "/healthz/readiness": (200, b"<html></html>")}
    )


@fault("F248", "n8n does not answer", "n8n", caught("DEMO-14", "n8n-unknown", verdict=Verdict.NOT_PROVEN))
def n8n_silent(work: DemoWorkspace) -> None:
    """Nothing listens there."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        work.n8n_url = f"http://127.0.0.1:{server.server_port}"


def answer_as_n8n(work: DemoWorkspace, answers: dict[str, tuple[int, bytes]]) -> None:
    """Answer on a port of loopback as n8n would, until the check has run."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (HTTPStatus.NOT_FOUND, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:  # nothing of it belongs on the terminal
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    work.closing.append(close)
    work.n8n_url = f"http://127.0.0.1:{server.server_port}"


def _verifier(work: DemoWorkspace, role: str) -> str:
    with work.database.connect() as admin:
        row = admin.execute(
            sql.SQL("SELECT rolpassword FROM pg_authid WHERE rolname = {}").format(sql.Literal(role))
        ).fetchone()
    return str(row[0]) if row else ""
