"""Public addresses, with an authority of our own: chain, name, days, and the answer that only a healthy service gives."""

import http.server
import socketserver
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from smos.clock import SystemClock
from smos.live import addresses
from smos.live.addresses import ask_address
from smos.live.declared import Service
from smos.vault.health import HealthState, read_health

NOW = SystemClock()
ANSWERS = {
    "/api/health": (200, "application/json", b'{"database": "ok", "version": "12"}'),
    "/_health/": (200, "text/plain", b"ok"),
    "/v1/traces": (200, "application/json", b'{"partialSuccess":{}}'),
    "/shop": (200, "text/html", b"<h1>Tienda</h1>"),
    "/down": (503, "text/html", b"later"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the services of ANSWERS do."""

    def do_GET(self) -> None:
        """Answer; POST likewise."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, kind, body = ANSWERS.get(self.path, (404, "text/plain", b""))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  (the standard library's name)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Quiet(http.server.ThreadingHTTPServer):
    """A server that does not talk about clients that leave."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: handshakes that fail are the point."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve over TLS with a certificate of an intermediate authority; give the address and the root's file."""
    root = trustme.CA()
    leaf = root.create_child_ca().issue_cert("127.0.0.1", not_after=NOW.now() + timedelta(days=30))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    file = tmp_path_factory.mktemp("ca") / "root.pem"
    root.cert_pem.write_to_path(str(file))
    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", file
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("kind", "path", "more", "healthy"),
    [
        ("grafana", "", {}, True),
        ("sentry", "", {}, True),
        ("otlp", "", {}, True),
        ("http", "/shop", {"contains": "Tienda"}, True),
        ("http", "/shop", {"contains": "n8n"}, False),
        ("http", "/down", {}, False),
        ("http", "/down", {"expect_status": 503}, True),
        ("grafana", "/shop", {}, False),
    ],
)
def test_only_the_right_answer_over_a_valid_chain_is_healthy(
    site: tuple[str, Path], kind: str, path: str, more: dict, healthy: bool
) -> None:
    service = Service.model_validate(
        {"name": "it", "kind": kind, "url": site[0] + path, "ca_file": site[1], **more}
    )
    state = ask_address(service, NOW)
    assert state.healthy is healthy, state
    assert state.certificate is not None
    assert 29 < state.certificate.days_left < 31


def test_a_chain_that_ends_elsewhere_and_another_name_are_told_apart(site: tuple[str, Path]) -> None:
    url, ca = site
    stranger = ask_address(Service(name="it", kind="http", url=f"{url}/shop"), NOW)
    assert (stranger.healthy, stranger.code) == (False, "certificate-untrusted")
    other = url.replace("127.0.0.1", "localhost")
    named = ask_address(Service(name="it", kind="http", url=f"{other}/shop", ca_file=ca), NOW)
    assert (named.healthy, named.code) == (False, "certificate-name")
    plain = ask_address(Service(name="it", kind="http", url=url.replace("https", "http")), NOW)
    assert plain.healthy is not True


class Dripping(socketserver.BaseRequestHandler):
    """Sends one byte of a header now and then, until it is hung up on."""

    def handle(self) -> None:
        """Drip."""
        try:
            self.request.sendall(b"HTTP/1.1 200 OK\r\nx-endless: ")
            while True:
                self.request.sendall(b"a")
                self.request.settimeout(0.1)
                try:
                    if self.request.recv(4096) == b"":
                        return
                except TimeoutError:
                    continue
        except OSError:
            return


class Tap(socketserver.ThreadingTCPServer):
    """One thread a client."""

    daemon_threads = True


def test_headers_that_drip_for_ever_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with Tap(("127.0.0.1", 0), Dripping) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            monkeypatch.setattr(addresses, "LIMIT_S", 1.0)
            state = ask_address(Service(name="it", kind="http", url=url), NOW)
            vault = read_health(url, limit_s=0.5)
        finally:
            server.shutdown()
            thread.join()
    assert (state.healthy, state.code) == (None, "address-unreachable")
    assert vault.state is HealthState.TIMED_OUT
