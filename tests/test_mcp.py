"""`smos mcp`: credentials from a real Vault, used against a real HTTP server on loopback."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import hvac
import pytest

from smos.mcp.judge import judge_provider
from smos.mcp.probe import ProviderFacts, probe_all
from smos.provision.base import VaultEndpoint
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.vault.mounts import mount_kv
from smos.vault.providers import Provider, ProviderTest, load_registry
from tests._forked import run_smos

SMOS = Path(sys.executable).with_name("smos")
CANARY = "canary-4417"
GOOD = {"Authorization": f"Bearer {CANARY}"}


@dataclass
class Service:
    """A provider: answers 200 to the right token, 401 to another; what it was asked is kept."""

    port: int = 0
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.seen.append((self.command, self.path, body))
            good = self.headers.get("Authorization") == GOOD["Authorization"]
            code = {"/moved": 302, "/broken": 500, "/always": 200}.get(self.path, 200 if good else 401)
            text = json.dumps({"ok": good, "echo": self.headers.get("Authorization")}).encode()
            self.send_response(code)
            if code == 302:
                self.send_header("Location", f"http://127.0.0.1:{state.port}/elsewhere")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = answer  # noqa: N815  (the names that http.server looks for)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def vault() -> Iterator[tuple[VaultEndpoint, hvac.Client]]:
    with Owner("mcp") as owner:
        server = EmbeddedOpenBao(owner, name="mcp", storage="inmem", audit=False)
        server.start()
        client = server.endpoint.client()
        answer = client.sys.initialize(secret_shares=1, secret_threshold=1)
        client.sys.submit_unseal_key(answer["keys_base64"][0])
        client.token = answer["root_token"]
        mount_kv(client, "smarteros")
        yield server.endpoint, client
        client.adapter.close()


def provider(
    name: str, test: ProviderTest | None, *, path: str | None = "", keys: tuple[str, ...] = ("token", "url")
) -> Provider:
    where = f"mcp/{name}" if path == "" else path
    return Provider(name=name, tier=1, category="t", agent="writer-copilot", path=where, keys=keys, test=test)


def ask(path: str, **more: object) -> ProviderTest:
    return ProviderTest(url="{url}" + path, headers={"Authorization": "Bearer {token}"}, **more)


def test_every_state_of_a_provider_is_told_apart(
    vault: tuple[VaultEndpoint, hvac.Client], service: Service
) -> None:
    endpoint, client = vault
    url = f"http://127.0.0.1:{service.port}"
    secrets = {
        "works": {"token": CANARY, "url": url},
        "refused": {"token": "old", "url": url},
        "says-ok": {"token": "old", "url": url},
        "empty": {"token": "  ", "url": url},
        "dead": {"token": CANARY, "url": "http://127.0.0.1:9"},
        "clear": {"token": CANARY, "url": "http://192.0.2.1"},
        "moved": {"token": CANARY, "url": url},
        "broken": {"token": CANARY, "url": url},
        "graph": {"token": CANARY, "url": url},
        "untested": {"token": CANARY, "url": url},
    }
    for name, values in secrets.items():
        client.secrets.kv.v2.create_or_update_secret(f"mcp/{name}", values, mount_point="smarteros")
    graph = {"query": "query { viewer { id } }", "token": "{token}"}
    providers = [
        provider("works", ask("/me", field="ok")),
        provider("refused", ask("/me")),
        provider("says-ok", ask("/always", field="ok")),
        provider("empty", ask("/me")),
        provider("absent", ask("/me")),
        provider("dead", ask("/me")),
        provider("clear", ask("/me")),
        provider("moved", ask("/moved")),
        provider("broken", ask("/broken")),
        provider("graph", ask("/me", json=graph, field="ok")),
        provider("untested", None),
        provider("none", None, path=None, keys=()),
    ]
    service.seen.clear()
    facts = probe_all(endpoint, client.token, providers)
    assert {item.name: judge_provider(item).code for item in facts} == {
        "works": "credentials-work",
        "refused": "credentials-refused",
        "says-ok": "credentials-refused",
        "empty": "credentials-incomplete",
        "absent": "credentials-absent",
        "dead": "no-answer",
        "clear": "no-answer",
        "moved": "odd-answer",
        "broken": "odd-answer",
        "graph": "credentials-work",
        "untested": "no-test",
        "none": "no-secret",
    }
    assert CANARY not in repr(facts) + repr([judge_provider(item) for item in facts])
    assert not any(path == "/elsewhere" for _, path, _ in service.seen)
    posted = [json.loads(body) for method, _, body in service.seen if method == "POST"]
    assert posted == [{"query": "query { viewer { id } }", "token": CANARY}]


def test_a_vault_that_refuses_or_is_gone_proves_nothing(vault: tuple[VaultEndpoint, hvac.Client]) -> None:
    endpoint, _ = vault
    for access, token in ((endpoint, "s.wrong"), (VaultEndpoint(url="http://127.0.0.1:9"), "s.x")):
        (facts,) = probe_all(access, token, [provider("works", ask("/me"))])
        assert judge_provider(facts).code == "credentials-unreadable"


def test_the_registry_that_comes_along_asks_only_for_keys_that_its_secrets_hold() -> None:
    registry = load_registry()
    assert len(registry.providers) == 28
    for item in registry.providers:
        if item.test is not None:
            values = dict.fromkeys(item.keys, "https://x.example")
            texts = [
                item.test.url,
                *item.test.headers.values(),
                *(item.test.basic or ()),
                json.dumps(item.test.json_),
            ]
            named = {word for text in texts for word in re.findall(r"\{([a-z0-9_]+)\}", text)}
            assert named <= set(values), item.name
            assert item.test.url.startswith(("https://", "{url}", "{endpoint}")), item.name


def test_only_an_accepted_request_is_shown_to_work() -> None:
    complete = ProviderFacts(name="x", path="mcp/x", secret="read", tested=True, host="h")
    assert judge_provider(complete).verdict == "NOT_PROVEN"


def test_the_command_shows_a_table_and_ends_with_the_worst_verdict(
    vault: tuple[VaultEndpoint, hvac.Client], service: Service, tmp_path: Path
) -> None:
    endpoint, client = vault
    client.secrets.kv.v2.create_or_update_secret(
        "mcp/shop", {"token": CANARY, "url": f"http://127.0.0.1:{service.port}"}, mount_point="smarteros"
    )
    registry = tmp_path / "providers.yml"
    registry.write_text(
        "schema: 1\nproviders:\n  - {name: shop, tier: 1, category: c, agent: writer-copilot, path: mcp/shop,"
        ' keys: [token, url], test: {url: "{url}/me", headers: {Authorization: "Bearer {token}"}}}\n'
        "  - {name: lost, tier: 1, category: c, agent: writer-copilot, path: mcp/lost, keys: [token]}\n"
    )
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "BAO_", "SMOS_"))
    } | {
        "SMOS_HOME": str(tmp_path / "home"),
        "SMOS_KEYRING": "off",
        "SMOS_VAULT_ADDRESS": endpoint.url,
        "SMOS_VAULT_TOKEN": str(client.token),
        "SMOS_MCP_REGISTRY": str(registry),
    }

    def smos(*args: str) -> subprocess.CompletedProcess[str]:
        return run_smos(["mcp", *args], env=env)

    done = smos("test", "shop", "--json")
    assert (done.returncode, json.loads(done.stdout)[0]["code"]) == (0, "credentials-work")
    done = smos("test", "--all")
    assert done.returncode == 1
    assert "credentials" in done.stdout
    assert "mcp/lost is not in Vault" in done.stdout
    assert CANARY not in done.stdout + done.stderr
    assert smos("test").returncode == smos("test", "nosuch").returncode == 2
    assert [item["name"] for item in json.loads(smos("list", "--json").stdout)] == ["shop", "lost"]
    env.pop("SMOS_VAULT_TOKEN")
    assert smos("test", "shop").returncode == 3
