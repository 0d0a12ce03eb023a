"""F70 to F72, F75, F76: services, a live Vault, objectives, and the harness itself."""

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from ipaddress import ip_address
from pathlib import Path

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from smos.checks.dr.vault_health import judge_health
from smos.checks.registry import CHECKS
from smos.drill.sandbox import admin_connection
from smos.drill.stack import Sandbox
from smos.evidence.accounting import reconcile
from smos.evidence.results import Result
from smos.faults.dr.workspace import Workspace
from smos.faults.registry import Variant, caught, fault
from smos.live.declared import Service
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.vault.health import read_health
from smos.verdict import Judgement, Verdict, not_proven

NOT_PROVEN = Verdict.NOT_PROVEN
DAY = timedelta(days=1)
POSTGRES = "smarter-postgres"
PATIENCE_S = 0.3
"""How long a Vault that never answers is waited for here."""


# --- F70: services ----------------------------------------------------------------------------------------


@fault(
    "F70a", "A service is down", "service", caught("DR-05", "service-unhealthy", POSTGRES), databases=("n8n",)
)
def down(work: Workspace) -> None:
    """Kill the server just before it is asked."""
    work.strikes["ready"] = lambda sandbox: sandbox.postgres.kill()


@fault(
    "F70b",
    "A service is up and takes no writes",
    "service",
    caught("DR-05", "service-unhealthy", POSTGRES),
    databases=("n8n",),
)
def read_only(work: Workspace) -> None:
    """Let the server refuse writes, as one does that was left a standby."""

    def strike(sandbox: Sandbox) -> None:
        with admin_connection(sandbox.postgres) as connection:
            connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            connection.execute("SELECT pg_reload_conf()")

    work.strikes["ready"] = strike


@fault(
    "F70c",
    "A service's health is unknown",
    "service",
    caught("DR-05", "service-unknown", "smarter-redis", verdict=NOT_PROVEN),
    databases=("n8n",),
)
def unknown(work: Workspace) -> None:
    """Declare a service that nobody can ask."""
    more = Service(name="smarter-redis", kind="redis")
    work.target = work.target.model_copy(update={"services": (*work.target.services, more)})


@fault(
    "F70d",
    "A service takes connections and never answers",
    "service",
    caught("DR-05", ("service-unhealthy", "service-unknown"), POSTGRES),
    databases=("n8n",),
)
def hanging(work: Workspace) -> None:
    """Freeze the server: its socket is there, nobody answers."""
    work.strikes["ready"] = lambda sandbox: sandbox.postgres.pause()


@fault(
    "F70e",
    "A service ends every session at once, as one that restarts in a loop does",
    "service",
    caught("DR-05", ("service-unhealthy", "service-unknown"), POSTGRES),
    databases=("n8n",),
)
def looping(work: Workspace) -> None:
    """Let the server end every new session before it can ask anything; the server itself keeps running."""

    def strike(sandbox: Sandbox) -> None:
        with admin_connection(sandbox.postgres) as connection:
            # Each new session is ended by the server before it can do anything, again and again.
            connection.execute("ALTER SYSTEM SET session_preload_libraries = 'not_there'")
            connection.execute("SELECT pg_reload_conf()")

    work.strikes["ready"] = strike


@fault(
    "F70f",
    "The application gets a wrong answer",
    "service",
    caught("DR-05", "smoke-wrong-answer", "every tenant came back"),
    caught("DR-05", "smoke-wrong-answer", "every tenant came back", variant=Variant.REHASHED),
    caught("DR-05", "smoke-wrong-answer", "every tenant came back", variant=Variant.WITHOUT_MANIFEST),
    databases=("smarteros",),
)
def wrong_answer(work: Workspace) -> None:
    """Add a tenant: everything runs, and the answer is another."""
    work.edit_dump(
        "smarteros",
        "INSERT INTO app.tenants (name, rut, region, created_at) VALUES ('Intruso', '70111111-1', 'Maule', now())",
    )


# --- F71: a live Vault --------------------------------------------------------------------------------------


def _asked(work: Workspace, *, strike: str = "", ca: Path | None = None) -> None:
    """Ask a real server of the workshop for its health, in the state that `strike` brings it into."""

    def judge(_check: str) -> Judgement:
        with work.vaultshop.at_rest() as server:
            if strike:
                getattr(server, strike)()
            return judge_health(
                read_health(server.endpoint.url, ca=ca, limit_s=PATIENCE_S if strike == "pause" else 60)
            )

    work.judge = judge


@fault("F71a", "Vault is sealed", "live Vault", caught("DR-06", "vault-sealed", "is sealed"))
def sealed(work: Workspace) -> None:
    """Start a real Vault and don't unseal it."""
    _asked(work)


@fault("F71b", "Vault is unreachable", "live Vault", caught("DR-06", "vault-unreachable", verdict=NOT_PROVEN))
def unreachable(work: Workspace) -> None:
    """Kill a real Vault."""
    _asked(work, strike="kill")


@fault("F71c", "Vault hangs", "live Vault", caught("DR-06", "vault-timed-out", verdict=NOT_PROVEN))
def silent(work: Workspace) -> None:
    """Freeze a real Vault."""
    _asked(work, strike="pause")


@fault(
    "F71d",
    "Vault is a standby",
    "live Vault",
    caught("DR-06", "vault-standby", "is a standby", verdict=NOT_PROVEN),
)
def standby(work: Workspace) -> None:
    """Answer as a standby does (status 429)."""

    def judge(_check: str) -> Judgement:
        with answering(429, None) as url:
            return judge_health(read_health(url))

    work.judge = judge


@fault(
    "F71e",
    "Vault shows a certificate that nobody trusts",
    "live Vault",
    caught("DR-06", "vault-certificate-untrusted"),
)
def untrusted(work: Workspace) -> None:
    """Speak TLS with a certificate of the server's own making."""

    def judge(_check: str) -> Judgement:
        with answering(200, certificate(work, DAY)) as url:
            return judge_health(read_health(url))

    work.judge = judge


@fault("F71f", "Vault's certificate has expired", "live Vault", caught("DR-06", "vault-certificate-expired"))
def expired(work: Workspace) -> None:
    """Speak TLS with the right certificate of yesterday."""

    def judge(_check: str) -> Judgement:
        pair = certificate(work, -DAY)
        with answering(200, pair) as url:
            return judge_health(read_health(url, ca=pair[0]))

    work.judge = judge


# --- F72: objectives ----------------------------------------------------------------------------------------


@fault(
    "F72a",
    "Recovery takes longer than the objective",
    "objectives",
    caught("DR-07", "rto-exceeded", "longest phase"),
    databases=("n8n",),
)
def too_slow(work: Workspace) -> None:
    """Make the objective a hundredth of what the drill measures."""
    work.objective_share = 0.01


@fault(
    "F72b",
    "More is lost than the objective allows",
    "objectives",
    caught("DR-07", "rpo-exceeded", "heartbeat"),
    databases=("n8n",),
)
def too_much_lost(work: Workspace) -> None:
    """Let the disaster come two days after the newest backup."""
    work.now += 2 * DAY


@fault(
    "F72c",
    "The application is never ready, so there is no recovery time",
    "objectives",
    caught("DR-07", "rto-not-measured", verdict=NOT_PROVEN),
    databases=("n8n",),
)
def never_ready(work: Workspace) -> None:
    """Kill the server before it is asked whether it is ready."""
    work.strikes["ready"] = lambda sandbox: sandbox.postgres.kill()


# --- F75, F76: the harness ----------------------------------------------------------------------------------


@fault(
    "F75",
    "The drill is pointed at the live system",
    "harness",
    caught("DR-03", "sandbox-is-source", "system identifier of the source"),
    databases=("n8n",),
)
def pointed_at_source(work: Workspace) -> None:
    """Hand the live server to the drill as its sandbox: it must not be touched, not even restarted."""
    live = work.workshop.live("n8n")
    before = _seen(live)
    work.rewrite(system_identifier=before[0])
    work.instead = live

    def reached() -> str:
        after = _seen(live)
        work.workshop.drop("n8n")
        return "" if after == before else "the live system was changed or restarted"

    work.attacked = reached


EVERY = tuple(check.id for check in CHECKS if check.id.startswith("DR-"))


@fault(
    "F76a",
    "A required check was not selected",
    "harness",
    *(caught(check, "check-missing", verdict=NOT_PROVEN) for check in EVERY),
)
def not_selected(work: Workspace) -> None:
    """Run a suite without one of its checks."""

    def judge(check_id: str) -> Judgement:
        others = {f"t::{other}": other for other in EVERY if other != check_id}
        return _accounted(check_id, others, [_result(other) for other in others.values()])

    work.judge = judge


@fault(
    "F76b",
    "A worker died in a check",
    "harness",
    *(caught(check, "check-missing", verdict=NOT_PROVEN) for check in EVERY),
)
def worker_died(work: Workspace) -> None:
    """Select every check; one of them never leaves a result."""

    def judge(check_id: str) -> Judgement:
        nodes = {f"t::{check}": check for check in EVERY}
        return _accounted(check_id, nodes, [_result(other) for other in EVERY if other != check_id])

    work.judge = judge


@fault(
    "F76c",
    "Everything was skipped",
    "harness",
    *(caught(check, "check-skipped", verdict=NOT_PROVEN) for check in EVERY),
)
def skipped(work: Workspace) -> None:
    """Skip every check."""
    finding = not_proven("check-skipped", "The check was skipped", "take away what skips it")

    def judge(check_id: str) -> Judgement:
        nodes = {f"t::{check}": check for check in EVERY}
        results = [
            Result(check=check, nodeid=node, verdict=NOT_PROVEN, findings=(finding,), facts={}, seconds=0.0)
            for node, check in nodes.items()
        ]
        return _accounted(check_id, nodes, results)

    work.judge = judge


def _result(check_id: str) -> Result:
    return Result(
        check=check_id, nodeid=f"t::{check_id}", verdict=Verdict.PASS, findings=(), facts={}, seconds=0.0
    )


def _accounted(check_id: str, collected: dict[str, str], results: list[Result]) -> Judgement:
    """Account for a run as its controller does; a run that is green in spite of the fault is no judgement."""
    outcome = reconcile(
        collected=collected, results=results, required=EVERY, waivers=(), today=date.max, complete=True
    )
    if outcome.verdict is Verdict.PASS:
        return Judgement(())
    return Judgement(next(item.findings for item in outcome.checks if item.check.id == check_id))


def _seen(server: EmbeddedPostgres) -> tuple[str, ...]:
    """Return who a server is, since when it runs, and what it holds, in so far as a restore would change it."""
    with psycopg.connect(server.endpoint.conninfo()) as connection:
        row = connection.execute(
            "SELECT (SELECT system_identifier::text FROM pg_control_system()), pg_postmaster_start_time()::text,"
            " (SELECT string_agg(datname, ',' ORDER BY 1) FROM pg_database),"
            " (SELECT string_agg(rolname || rolsuper::text, ',' ORDER BY 1) FROM pg_roles)"
        ).fetchone()
    with psycopg.connect(server.endpoint.conninfo("n8n")) as connection:
        rows = connection.execute(
            "SELECT count(*)::text, md5(string_agg(data, '' ORDER BY id)) FROM execution_entity"
        ).fetchone()
    return tuple(str(value) for value in (*(row or ()), *(rows or ())))


@contextmanager
def answering(status: int, tls: tuple[Path, Path] | None) -> Iterator[str]:
    """Answer `sys/health` on a loopback port; yields the address."""
    data = json.dumps({"initialized": True, "sealed": False, "standby": status == 429}).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing: failing handshakes are the point."""

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certificate(work: Workspace, valid_for: timedelta) -> tuple[Path, Path]:
    """Write a self-signed certificate of 127.0.0.1 and its key; return both paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(work.now - 10 * DAY)
        .not_valid_after(work.now + valid_for)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = work.directory / "cert.pem", work.directory / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private
