"""Every way in which a live Vault can be unwell has its own message (F71)."""

import datetime as dt
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from smos.checks.dr.vault import judge_health
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.vault.bootstrap import bootstrap
from smos.vault.health import HealthFacts, HealthState, read_health
from smos.verdict import Verdict

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def certificate(
    folder: Path, *, address: str = "127.0.0.1", until: dt.datetime = NOW + DAY
) -> tuple[Path, Path]:
    """Write a self-signed certificate and its key; return both paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 10 * DAY)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "cert.pem", folder / "key.pem"


@contextmanager
def answering(
    status: int = 200, body: object = None, *, tls: tuple[Path, Path] | None = None, silent: bool = False
) -> Iterator[str]:
    """Serve one answer on a loopback port; yields the address."""
    data = json.dumps({"initialized": True, "sealed": False} if body is None else body).encode()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if silent:
                over.wait(20)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing: failing handshakes are the point."""

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_real_server_is_uninitialised_then_active_then_sealed_then_gone(tmp_path: Path) -> None:
    with Owner("test-vault-health") as owner:
        server = EmbeddedOpenBao(owner, name="health")
        server.start()
        url = server.endpoint.url
        states = [read_health(url).state]
        bootstrap(server.endpoint, escrow=tmp_path / "escrow.json", secret_keys={})
        active = read_health(url)
        states.append(active.state)
        server.kill()
        states.append(read_health(url).state)
        server.start()
        states.append(read_health(url).state)
        server.pause()
        states.append(read_health(url, limit_s=0.3).state)
        server.resume()
        server.kill()
    assert states == [
        HealthState.UNINITIALIZED,
        HealthState.ACTIVE,
        HealthState.UNREACHABLE,
        HealthState.SEALED,
        HealthState.TIMED_OUT,
    ]
    assert active.cluster_id
    assert judge_health(active).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (200, HealthState.ACTIVE),
        (429, HealthState.STANDBY),
        (472, HealthState.DR_SECONDARY),
        (473, HealthState.PERFORMANCE_STANDBY),
        (501, HealthState.UNINITIALIZED),
        (503, HealthState.SEALED),
        (302, HealthState.NOT_VAULT),
    ],
)
def test_each_status_has_its_state(status: int, state: HealthState) -> None:
    with answering(status) as url:
        assert read_health(url).state is state


@pytest.mark.parametrize("body", ["up", {"status": "ok"}, [1]])
def test_another_server_that_says_200_is_no_vault(body: object) -> None:
    with answering(200, body) as url:
        assert read_health(url).state is HealthState.NOT_VAULT


def test_a_sealed_vault_behind_a_status_of_200_is_sealed() -> None:
    with answering(200, {"initialized": True, "sealed": True}) as url:
        assert read_health(url).state is HealthState.SEALED


def test_wrong_certificates_are_told_apart(tmp_path: Path) -> None:
    good = certificate(tmp_path)
    with answering(tls=good) as url:
        assert read_health(url, ca=good[0]).state is HealthState.ACTIVE
        assert read_health(url).state is HealthState.CERTIFICATE_UNTRUSTED
        assert read_health(url.replace("https", "http")).state is not HealthState.ACTIVE
        assert read_health(url, ca=tmp_path / "none.pem").state is HealthState.TLS_FAILED
    with answering(tls=certificate(tmp_path, address="127.0.0.2")) as url:
        assert read_health(url, ca=good[0]).state is HealthState.CERTIFICATE_NAME
    with answering(tls=certificate(tmp_path, until=NOW - DAY)) as url:
        assert read_health(url, ca=good[0]).state is HealthState.CERTIFICATE_EXPIRED


def test_plain_http_where_tls_was_asked_for_is_named() -> None:
    with answering() as url:
        assert read_health(url.replace("http", "https")).state is HealthState.NO_TLS


def test_a_server_that_never_answers_is_given_up() -> None:
    with answering(silent=True) as url:
        assert read_health(url, limit_s=0.2).state is HealthState.TIMED_OUT


def test_a_password_in_the_address_is_not_repeated() -> None:
    facts = read_health("http://someone:hunter2@127.0.0.1:9")
    assert facts.state is HealthState.UNREACHABLE
    assert "hunter2" not in repr(facts)


def test_every_state_has_a_message_of_its_own() -> None:
    findings = [
        judge_health(HealthFacts(url="http://v", state=state)).findings
        for state in HealthState
        if state is not HealthState.ACTIVE
    ]
    assert all(len(found) == 1 and found[0].remedy for found in findings)
    assert len({found[0].message for found in findings}) == len(findings)
    assert {found[0].verdict for found in findings} == {Verdict.FAIL, Verdict.NOT_PROVEN}
