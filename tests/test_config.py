"""The configuration: precedence, comments that survive, secrets that stay apart."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smos.config.discover import Found, discover, starting_text
from smos.config.keys import KEYS
from smos.config.store import Config, Keyring, SecretFile, find_secret_store
from smos.errors import TargetError
from tests._forked import run_smos

SMOS = Path(sys.executable).with_name("smos")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "home", {"SMOS_KEYRING": "off"})


def smos(home: Path, *args: str, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "BAO_", "SMOS_"))
    }
    return run_smos(args, env=clean | {"SMOS_HOME": str(home), "SMOS_KEYRING": "off"} | env, text=text)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(config: Config) -> None:
    assert config.get("vault.address").origin == "default"
    config.set("vault.address", "http://file:1")
    assert (config.value("vault.address"), config.get("vault.address").origin) == ("http://file:1", "file")
    environ = {"VAULT_ADDR": "http://other:1", "SMOS_KEYRING": "off"}
    assert Config(config.directory, environ).get("vault.address").origin == "environment VAULT_ADDR"
    environ["SMOS_VAULT_ADDRESS"] = "http://ours:1"
    assert Config(config.directory, environ).value("vault.address") == "http://ours:1"
    assert config.unset("vault.address") is True
    assert config.unset("vault.address") is False
    assert config.get("vault.address").origin == "default"


def test_comments_and_order_survive_a_change(config: Config) -> None:
    text = (
        "# mine\nvault:\n  # behind the proxy\n  mount: other  # not ours\n  address: http://a:1\nlang: es\n"
    )
    config.create(text)
    config.set("vault.address", "http://b:2")
    assert config.path.read_text() == text.replace("http://a:1", "http://b:2")
    config.set("docker.project", "x")
    assert "# behind the proxy" in config.path.read_text()


def test_a_file_of_comments_alone_keeps_them(config: Config) -> None:
    config.create(starting_text(()))
    before = config.path.read_text()
    config.set("vault.address", "http://b:2")
    config.set("lang", "es")
    assert config.path.read_text().startswith(before.rstrip())
    assert (config.value("vault.address"), config.value("lang")) == ("http://b:2", "es")


@pytest.mark.parametrize(
    "found", [(), (Found("vault.address", 'http://"x\\', "t"), Found("lang", "es", "t"))]
)
def test_the_first_file_is_valid_and_holds_just_what_was_found(
    config: Config, found: tuple[Found, ...]
) -> None:
    config.create(starting_text(found))
    assert {item.key.name: item.value for item in config.all() if item.origin == "file"} == {
        item.key: item.value for item in found
    }


def test_secrets_lie_in_a_file_of_their_own_that_only_its_owner_may_read(config: Config) -> None:
    config.set("vault.token", "s.canary-7391")
    secrets = config.directory / "secrets.yml"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.directory.stat().st_mode) == 0o700
    assert not config.path.exists() or "canary" not in config.path.read_text()
    assert config.get("vault.token").shown == "********"
    secrets.chmod(0o640)
    with pytest.raises(TargetError, match="read by others") as error:
        config.get("vault.token")
    assert "canary" not in str(error.value)


def test_the_keyring_is_used_where_one_works(tmp_path: Path) -> None:
    class Backend:
        priority = 5

        def __init__(self) -> None:
            self.held: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, name: str) -> str | None:
            return self.held.get((service, name))

        def set_password(self, service: str, name: str, value: str) -> None:
            self.held[service, name] = value

        def delete_password(self, service: str, name: str) -> None:
            del self.held[service, name]

    config = Config(tmp_path, {}, Keyring(Backend()))
    config.set("vault.token", "s.x")
    assert config.get("vault.token").origin == "keyring"
    assert list(tmp_path.glob("secrets*")) == []
    assert config.unset("vault.token") is True
    assert config.value("vault.token") is None
    assert isinstance(find_secret_store(tmp_path, {"SMOS_KEYRING": "off"}), SecretFile)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vault: [", "no valid YAML"),
        ("- a\n", "holds no keys"),
        ("vault:\n  adress: x\n", "vault.adress"),
        ("backups:\n  keep_days: many\n", "backups.keep_days"),
        ("a: !!python/object/apply:os.system ['true']\n", "'a'"),
    ],
)
def test_a_broken_file_is_named_and_kept(config: Config, text: str, says: str) -> None:
    config.directory.mkdir()
    config.path.write_text(text)
    with pytest.raises(TargetError, match=says):
        config.all()
    assert config.path.read_text() == text


def test_writers_at_the_same_time_lose_nothing(config: Config) -> None:
    names = [name for name, key in KEYS.items() if key.kind is str and not key.secret]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: Config(config.directory, {"SMOS_KEYRING": "off"}).set(name, name), names))
    assert {name: config.value(name) for name in names} == {name: name for name in names}


def test_nothing_is_found_where_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smos.config.discover.DOCKER_SOCKETS", ("/nonexistent",))
    monkeypatch.setattr("smos.config.discover.VAULT_ADDRESSES", ("http://127.0.0.1:9",))
    monkeypatch.setattr("smos.config.discover.BACKUP_DIRECTORIES", ("/nonexistent",))
    assert discover({}) == ()


def test_the_command_never_takes_a_secret_as_an_argument(tmp_path: Path) -> None:
    done = smos(tmp_path, "config", "set", "vault.token", "s.canary")
    assert done.returncode == 2
    assert "canary" not in done.stdout + done.stderr
    assert smos(tmp_path, "config", "set", "vault.token", text="s.canary\n").returncode == 0
    shown = (
        smos(tmp_path, "config", "list", "--json").stdout
        + smos(tmp_path, "config", "get", "vault.token").stdout
    )
    assert "canary" not in shown
    assert {item["key"] for item in json.loads(smos(tmp_path, "config", "list", "--json").stdout)} == set(
        KEYS
    )
    assert smos(tmp_path, "config", "get", "vault.token", "--show").stdout == "s.canary\n"


def test_init_asks_before_it_replaces(tmp_path: Path) -> None:
    assert smos(tmp_path, "init").returncode == 0
    (tmp_path / "config.yml").write_text("lang: es\n")
    assert smos(tmp_path, "init").returncode == 5
    assert (tmp_path / "config.yml").read_text() == "lang: es\n"
    done = smos(tmp_path, "init", "--yes", "--json")
    assert json.loads(done.stdout)["path"] == str(tmp_path / "config.yml")
    assert stat.S_IMODE((tmp_path / "config.yml").stat().st_mode) == 0o600


def test_unknown_keys_and_missing_values_are_explained(tmp_path: Path) -> None:
    done = smos(tmp_path, "config", "get", "vault.adress")
    assert (done.returncode, "vault.address" in done.stderr) == (2, True)
    done = smos(tmp_path, "config", "get", "postgres.dsn", "--json")
    assert json.loads(done.stdout) == {"key": "postgres.dsn", "value": None, "set": False, "origin": "unset"}
    assert smos(tmp_path, "config", "get", "postgres.dsn").returncode == 1
    assert smos(tmp_path, "config", "set", "lang").returncode == 2
