"""`smos vault` against a real server: values masked, nobody's change lost, no secret in an argument."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hvac
import pytest

from smos.errors import AuthenticationError, SmosError, UnreachableError
from smos.provision.base import VaultEndpoint
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.vault import kv
from smos.vault.bootstrap import wait_until_active
from smos.vault.model import VaultError, opened
from smos.vault.mounts import mount_kv
from tests._forked import run_smos

SMOS = Path(sys.executable).with_name("smos")
CANARY = "canary-8823"


class Stand:
    """A Vault of the test's own."""

    def __init__(self, server: EmbeddedOpenBao, client: hvac.Client, share: str) -> None:
        self.server, self.client, self.share = server, client, share

    def smos(self, home: Path, *args: str, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command as somebody who knows this Vault."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("VAULT_", "BAO_", "SMOS_"))
        }
        ours = {
            "SMOS_HOME": str(home),
            "SMOS_KEYRING": "off",
            "VAULT_ADDR": self.server.endpoint.url,
            "VAULT_TOKEN": str(self.client.token),
        }
        return run_smos(["vault", *args], env=clean | ours | env, text=text)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with Owner("kv") as owner:
        server = EmbeddedOpenBao(owner, name="kv", audit=False)
        server.start()
        client = server.endpoint.client()
        answer = client.sys.initialize(secret_shares=2, secret_threshold=2)
        for share in answer["keys_base64"]:
            client.sys.submit_unseal_key(share)
        wait_until_active(client)
        client.token = answer["root_token"]
        mount_kv(client, "smarteros")
        client.sys.enable_secrets_engine("transit")
        client.secrets.transit.create_key("smarteros-secrets")
        yield Stand(server, client, "\n".join(answer["keys_base64"]))
        client.adapter.close()


def test_a_write_adds_keys_and_keeps_the_others_as_they_are(stand: Stand) -> None:
    stand.client.secrets.kv.v2.create_or_update_secret("a/b", {"n": 1, "t": "x"}, mount_point="smarteros")
    kept = kv.write(stand.client, "smarteros", "a/b", {"new": CANARY})
    assert (kept.values, kept.version) == ({"n": 1, "t": "x", "new": CANARY}, 2)
    assert kv.write(stand.client, "smarteros", "a/b", {"only": "1"}, replace=True).values == {"only": "1"}
    assert kv.read(stand.client, "smarteros", "a/b", 1).values == {"n": 1, "t": "x"}


def test_a_deleted_secret_is_missing_and_can_be_written_again(stand: Stand) -> None:
    kv.write(stand.client, "smarteros", "gone", {"a": "1"})
    stand.client.secrets.kv.v2.delete_latest_version_of_secret("gone", mount_point="smarteros")
    with pytest.raises(VaultError, match="no secret smarteros/gone"):
        kv.read(stand.client, "smarteros", "gone")
    assert kv.write(stand.client, "smarteros", "gone", {"b": "2"}).version == 2
    assert kv.read(stand.client, "smarteros", "gone").values == {"b": "2"}


def test_a_change_of_somebody_else_is_never_overwritten(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    kv.write(stand.client, "smarteros", "race", {"a": "1"})
    seen = kv._current(stand.client, "smarteros", "race", None)
    kv.write(stand.client, "smarteros", "race", {"b": "2"})
    monkeypatch.setattr(kv, "_current", lambda *_args: seen)
    with pytest.raises(VaultError, match="Somebody else"):
        kv.write(stand.client, "smarteros", "race", {"c": "3"})
    monkeypatch.undo()
    assert kv.read(stand.client, "smarteros", "race").values == {"a": "1", "b": "2"}


def test_names_are_listed_by_level_or_whole(stand: Stand) -> None:
    for path in ("l/one", "l/deep/two", "l/deep/er/three"):
        kv.write(stand.client, "smarteros", path, {"a": "1"})
    assert kv.list_paths(stand.client, "smarteros", "l") == ["l/deep/", "l/one"]
    assert kv.list_paths(stand.client, "smarteros", "l", recursive=True) == [
        "l/deep/er/three",
        "l/deep/two",
        "l/one",
    ]
    with pytest.raises(VaultError, match="nothing below"):
        kv.list_paths(stand.client, "smarteros", "nowhere")


def test_refused_and_silent_are_told_apart_without_a_token_in_the_text(stand: Stand) -> None:
    with (
        pytest.raises(AuthenticationError) as error,
        kv.session(stand.server.endpoint, f"s.{CANARY}") as client,
    ):
        kv.read(client, "smarteros", "a/b")
    assert CANARY not in str(error.value)
    with pytest.raises(UnreachableError), kv.session(VaultEndpoint(url="http://127.0.0.1:9"), "x") as client:
        kv.read(client, "smarteros", "a/b")


@pytest.mark.parametrize("text", ["token=s.abc", "=x", ""])
def test_a_value_in_an_argument_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SmosError, match="never an argument") as error:
        kv.parse_assignment(text)
    assert "s.abc" not in str(error.value)


def test_the_command_writes_from_stdin_and_files_and_shows_only_on_demand(
    stand: Stand, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{CANARY}\nline two\n")
    assert (
        stand.smos(
            tmp_path, "write", "mcp/x", "token=-", f"pem=@{tmp_path / 'key'}", text=f"{CANARY}\n"
        ).returncode
        == 0
    )
    masked = stand.smos(tmp_path, "read", "mcp/x")
    assert (masked.returncode, CANARY in masked.stdout + masked.stderr) == (0, False)
    assert "token" in masked.stdout
    assert stand.smos(tmp_path, "read", "mcp/x", "--key", "token", "--show").stdout == f"{CANARY}\n"
    document = json.loads(stand.smos(tmp_path, "read", "mcp/x", "--json").stdout)
    assert document["values"] == {"token": "********", "pem": "********"}
    assert stand.smos(tmp_path, "write", "mcp/x", f"token={CANARY}").returncode == 1
    assert stand.smos(tmp_path, "read", "nosuch").returncode == 1
    assert stand.smos(tmp_path, "read", "mcp/x", VAULT_TOKEN="s.wrong").returncode == 3
    assert stand.smos(tmp_path, "read", "mcp/x", VAULT_ADDR="http://127.0.0.1:9").returncode == 4
    assert json.loads(stand.smos(tmp_path, "list", "mcp", "--json").stdout) == ["mcp/x"]


def test_a_key_is_rotated(stand: Stand, tmp_path: Path) -> None:
    before = stand.client.secrets.transit.read_key("smarteros-secrets")["data"]["latest_version"]
    assert json.loads(stand.smos(tmp_path, "rotate", "--json").stdout)["version"] == before + 1


def test_status_and_unseal_after_a_restart(stand: Stand, tmp_path: Path) -> None:
    assert stand.smos(tmp_path, "status").returncode == 0
    stand.server.kill()
    assert stand.smos(tmp_path, "status").returncode == 4
    stand.server.start()
    sealed = stand.smos(tmp_path, "status", "--json")
    assert (sealed.returncode, json.loads(sealed.stdout)["state"]) == (1, "sealed")
    assert stand.smos(tmp_path, "read", "a/b").returncode == 4
    short = stand.smos(tmp_path, "unseal", text=stand.share.splitlines()[0] + "\n")
    assert (short.returncode, "stays sealed: 1 of 2" in short.stderr) == (1, True)
    done = stand.smos(tmp_path, "unseal", text=stand.share)
    assert done.returncode == 0, done.stderr
    with opened(stand.server.endpoint) as client:
        wait_until_active(client)
    assert stand.share.splitlines()[0] not in done.stdout + done.stderr
    assert stand.smos(tmp_path, "status").returncode == 0
