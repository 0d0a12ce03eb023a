"""`smos tenants` on a real PostgreSQL and a real Vault: all of a tenant or nothing, whatever breaks in the middle."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hvac
import psycopg
import pytest

from smos.errors import SmosError, TargetError, UnreachableError
from smos.provision.base import VaultEndpoint
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.tenants.journal import Journal
from smos.tenants.rut import parse_rut
from smos.tenants.service import Tenants
from smos.tenants.vault_side import PARTS, VaultSide
from smos.vault.bootstrap import wait_until_active
from smos.vault.model import opened
from smos.vault.mounts import mount_kv
from smos.wait import wait_for
from tests._forked import run_smos

SMOS = Path(sys.executable).with_name("smos")
NAME, RUT = "Panadería Ñuñoa SpA", "76543210-3"


class Platform:
    """A PostgreSQL and a Vault of the tests' own."""

    def __init__(self, dsn: str, url: str, client: hvac.Client) -> None:
        self.dsn, self.url, self.client = dsn, url, client

    def tenants(self, folder: Path) -> Tenants:
        """Return the service, with a journal of its own."""
        return Tenants(self.dsn, None, self.client, mount="smarteros", journal=Journal(folder / "journal"))

    def traces(self, tenant: str) -> tuple[int, tuple[str, ...]]:
        """Return how many rows there are, and the parts in Vault."""
        with psycopg.connect(self.dsn) as connection:
            there = connection.execute("SELECT to_regclass('smos.tenants') IS NOT NULL").fetchone()
            rows = 0
            if there == (True,):
                row = connection.execute(
                    "SELECT count(*) FROM smos.tenants WHERE id = %s", (tenant,)
                ).fetchone()
                assert row is not None
                rows = row[0]
        return rows, VaultSide(self.client, "smarteros", tenant).present()

    def command(self, home: Path, *args: str) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the environment of somebody who is configured for this platform."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("VAULT_", "BAO_", "SMOS_", "PG"))
        }
        ours = {
            "SMOS_HOME": str(home),
            "SMOS_KEYRING": "off",
            "SMOS_VAULT_ADDRESS": self.url,
            "SMOS_VAULT_TOKEN": str(self.client.token),
            "SMOS_POSTGRES_DSN": self.dsn,
        }
        return [str(SMOS), "tenants", *args], clean | ours

    def smos(self, home: Path, *args: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command."""
        words, env = self.command(home, *args)
        return run_smos(words[1:], env=env, text=text)


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Owner("tenants") as owner:
        postgres = EmbeddedPostgres(owner, name="tenants")
        vault = EmbeddedOpenBao(owner, name="tenants", audit=False)
        postgres.start()
        vault.start()
        client = vault.endpoint.client()
        answer = client.sys.initialize(secret_shares=1, secret_threshold=1)
        client.sys.submit_unseal_key(answer["keys_base64"][0])
        wait_until_active(client)
        client.token = answer["root_token"]
        mount_kv(client, "smarteros")
        client.sys.enable_auth_method("approle")
        yield Platform(postgres.endpoint.conninfo("postgres"), vault.endpoint.url, client)
        client.adapter.close()


def test_a_tenant_is_made_whole_and_its_login_reads_its_own_path_only(
    platform: Platform, tmp_path: Path
) -> None:
    tenants = platform.tenants(tmp_path)
    done = tenants.create("cl-0001", NAME, RUT, credentials=True)
    assert done.made == ("row", *PARTS)
    assert platform.traces("cl-0001") == (1, PARTS)
    assert tenants.info("cl-0001").problems == ()
    tenants.create("cl-00010", "Otra", "12345678-5")
    assert done.credentials is not None
    with opened(VaultEndpoint(url=platform.url)) as client:
        client.auth.approle.login(done.credentials.role_id, done.credentials.secret_id)
        read = client.secrets.kv.v2.read_secret_version
        assert read("tenants/cl-0001", mount_point="smarteros", raise_on_deleted_version=True)["data"][
            "data"
        ]["api_key"]
        for other in ("tenants/cl-00010", "mcp/github"):
            with pytest.raises(hvac.exceptions.Forbidden):
                read(other, mount_point="smarteros", raise_on_deleted_version=True)
        tenants.suspend("cl-0001")
        with pytest.raises(hvac.exceptions.Forbidden):
            read("tenants/cl-0001", mount_point="smarteros", raise_on_deleted_version=True)
        assert tenants.info("cl-0001").problems == ()
        tenants.resume("cl-0001")
        assert read("tenants/cl-0001", mount_point="smarteros", raise_on_deleted_version=True)["data"]["data"]


def test_making_it_again_changes_nothing_and_mends_what_is_missing(
    platform: Platform, tmp_path: Path
) -> None:
    tenants = platform.tenants(tmp_path)
    tenants.create("again", NAME, "11111111-1")
    secret = platform.client.secrets.kv.v2.read_secret_version(
        "tenants/again", mount_point="smarteros", raise_on_deleted_version=True
    )
    assert tenants.create("again", NAME, "11111111-1").made == ()
    VaultSide(platform.client, "smarteros", "again").remove(("role",))
    assert tenants.info("again").problems == ("role is missing in Vault",)
    assert tenants.missing("again", NAME, "11111111-1") == ("role",)
    assert tenants.create("again", NAME, "11111111-1").made == ("role",)
    after = platform.client.secrets.kv.v2.read_secret_version(
        "tenants/again", mount_point="smarteros", raise_on_deleted_version=True
    )
    assert after["data"]["data"] == secret["data"]["data"]


def test_an_id_or_a_rut_of_another_is_refused_and_leaves_nothing(platform: Platform, tmp_path: Path) -> None:
    tenants = platform.tenants(tmp_path)
    tenants.create("first", NAME, "22222222-2")
    with pytest.raises(TargetError, match="already"):
        tenants.create("first", "Otro nombre", "22222222-2")
    with pytest.raises(TargetError, match="has the RUT"):
        tenants.create("second", NAME, "22222222-2")
    assert platform.traces("second") == (0, ())
    for wrong in ("Upper", "../x", "a b", "", "x'--"):
        with pytest.raises(TargetError, match="no tenant id"):
            tenants.create(wrong, NAME, "33333333-3")


@pytest.mark.parametrize("step", range(3))
@pytest.mark.parametrize(
    "error", [hvac.exceptions.InternalServerError("x"), KeyboardInterrupt(), UnreachableError("x")]
)
def test_whatever_fails_in_the_middle_leaves_nothing(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException
) -> None:
    real, calls = VaultSide.make, []

    def breaks(self: VaultSide, part: str) -> None:
        calls.append(part)
        real(self, part)  # made, and the answer is lost
        if len(calls) == step + 1:
            raise error

    monkeypatch.setattr(VaultSide, "make", breaks)
    with pytest.raises(type(error)):
        platform.tenants(tmp_path).create("half", NAME, "44444444-4")
    assert platform.traces("half") == (0, ())
    assert list((tmp_path / "journal").glob("*")) == []


def test_a_killed_command_is_taken_back_by_the_next(platform: Platform, tmp_path: Path) -> None:
    words, env = platform.command(tmp_path, "create", "killed", "--name", NAME, "--rut", "55.555.555-5")
    # The killed run holds the tenant's lock and has made its policy: stop it just there.
    program = (
        "import os, signal, sys\n"
        "from smos.tenants.vault_side import VaultSide\n"
        "real = VaultSide.make\n"
        "def make(self, part):\n"
        "    real(self, part)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "VaultSide.make = make\n"
        "sys.argv = sys.argv[1:]\n"
        "from smos.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], env=env, capture_output=True, timeout=240, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert platform.traces("killed") == (0, ("policy",))
    wait_for(
        lambda: platform.smos(tmp_path, "list").returncode == 0, what="the half is taken back", deadline_s=60
    )
    assert platform.traces("killed") == (0, ())
    assert platform.smos(tmp_path, *words[2:]).returncode == 0
    assert platform.traces("killed") == (1, PARTS)


def test_a_removal_that_was_interrupted_goes_on(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants = platform.tenants(tmp_path)
    tenants.create("leaving", NAME, "66666666-6")

    def breaks(self: VaultSide, parts: object) -> None:
        self._client.sys.delete_policy("tenant-leaving")
        raise UnreachableError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(VaultSide, "remove", breaks)
        with pytest.raises(UnreachableError):
            tenants.delete("leaving")
    assert "interrupted" in tenants.info("leaving").problems[0]
    with pytest.raises(TargetError, match="deleting"):
        tenants.create("leaving", NAME, "66666666-6")
    assert tenants.delete("leaving") is True
    assert platform.traces("leaving") == (0, ())
    assert tenants.delete("leaving") is False


def test_what_only_vault_knows_is_shown_and_not_removed(platform: Platform, tmp_path: Path) -> None:
    tenants = platform.tenants(tmp_path)
    VaultSide(platform.client, "smarteros", "orphan").make("policy")
    (orphan,) = [item for item in tenants.all() if item.id == "orphan"]
    assert orphan.problems == ("Vault has it, PostgreSQL does not",)
    with pytest.raises(SmosError, match="nothing was removed"):
        tenants.delete("orphan")
    assert platform.smos(tmp_path, "list").returncode == 1
    tenants.create("orphan", NAME, "77777777-7")
    assert tenants.info("orphan").problems == ()


def test_what_somebody_changed_in_vault_is_told(platform: Platform, tmp_path: Path) -> None:
    tenants = platform.tenants(tmp_path)
    tenants.create("changed", NAME, "13131313-K")
    sys_, approle = platform.client.sys, platform.client.auth.approle
    wide = 'path "smarteros/*" { capabilities = ["read", "list"] }'
    sys_.create_or_update_acl_policy("tenant-changed", wide)
    assert "not the one of a tenant" in tenants.info("changed").problems[0]
    tenants.resume("changed")
    assert tenants.info("changed").problems == ()
    approle.create_or_update_approle("tenant-changed", token_policies=["tenant-changed", "admin"])
    tenants.suspend("changed")
    (problem,) = tenants.info("changed").problems
    assert "gives the policies" in problem
    assert "admin" in problem


def test_what_is_missing_of_a_suspended_tenant_is_made_without_rights(
    platform: Platform, tmp_path: Path
) -> None:
    tenants = platform.tenants(tmp_path)
    tenants.create("paused", NAME, "14141414-8")
    tenants.suspend("paused")
    VaultSide(platform.client, "smarteros", "paused").remove(("policy",))
    assert tenants.create("paused", NAME, "14141414-8").made == ("policy",)
    assert VaultSide(platform.client, "smarteros", "paused").suspended()
    assert tenants.info("paused").problems == ()


def test_a_removal_leaves_no_secret_that_could_be_had_back(platform: Platform, tmp_path: Path) -> None:
    tenants = platform.tenants(tmp_path)
    tenants.create("deep", NAME, "15151515-6")
    kv = platform.client.secrets.kv.v2
    for path in ("tenants/deep/billing", "tenants/deep/a/b"):
        kv.create_or_update_secret(path, {"k": "v"}, mount_point="smarteros")
    kv.create_or_update_secret("tenants/deep", {"k": "v"}, mount_point="smarteros")
    kv.delete_latest_version_of_secret("tenants/deep", mount_point="smarteros")
    assert tenants.info("deep").problems == ("secret is missing in Vault",)  # an older version is none
    assert tenants.delete("deep") is True
    assert VaultSide(platform.client, "smarteros", "deep").left() == ()


def test_a_version_that_is_due_to_be_deleted_is_still_there(platform: Platform, tmp_path: Path) -> None:
    tenants = platform.tenants(tmp_path)
    tenants.create("due", NAME, "16161616-4")
    kv = platform.client.secrets.kv.v2
    kv.update_metadata("tenants/due", delete_version_after="24h", mount_point="smarteros")
    kv.create_or_update_secret("tenants/due", {"k": "v"}, mount_point="smarteros")
    assert tenants.info("due").problems == ()
    assert tenants.create("due", NAME, "16161616-4").made == ()


def test_a_mount_that_is_not_there_is_not_taken_for_an_empty_one(platform: Platform, tmp_path: Path) -> None:
    tenants = platform.tenants(tmp_path)
    tenants.create("mounted", NAME, "17171717-2")
    elsewhere = Tenants(
        platform.dsn, None, platform.client, mount="elsewhere", journal=Journal(tmp_path / "journal")
    )
    for deed in (lambda: elsewhere.delete("mounted"), lambda: elsewhere.info("mounted"), elsewhere.all):
        with pytest.raises(SmosError, match="no mount"):
            deed()
    assert platform.traces("mounted") == (1, PARTS)
    assert tenants.delete("mounted") is True  # it was marked, and goes on


def test_any_part_of_an_orphan_shows_it_and_what_may_not_be_listed_is_said(
    platform: Platform, tmp_path: Path
) -> None:
    tenants = platform.tenants(tmp_path)
    login, secret = (VaultSide(platform.client, "smarteros", name) for name in ("lone-login", "lone-secret"))
    login.make("role")
    platform.client.secrets.kv.v2.create_or_update_secret(
        "tenants/lone-secret/x", {"k": "v"}, mount_point="smarteros"
    )
    assert {"lone-login", "lone-secret"} <= {item.id for item in tenants.all() if item.row is None}
    assert tenants.unseen() == ()
    for side in (login, secret):
        side.remove(PARTS)
    rights = (
        'path "sys/policies/acl/tenant-*" { capabilities = ["read"] }'
        'path "auth/approle/role/*" { capabilities = ["read", "list"] }'
        'path "smarteros/metadata/*" { capabilities = ["read", "list"] }'
    )
    platform.client.sys.create_or_update_acl_policy("few", rights)
    few = platform.client.auth.token.create(policies=["few"], no_default_policy=True)["auth"]["client_token"]
    words, env = platform.command(tmp_path / "few", "list")
    done = run_smos(words[1:], env=env | {"SMOS_VAULT_TOKEN": few})
    assert "may not list Vault's policies" in done.stderr
    assert done.returncode == (1 if any(item.problems for item in tenants.all()) else 10)


def test_a_plan_is_refused_where_the_deed_would_be(platform: Platform, tmp_path: Path) -> None:
    tenants = platform.tenants(tmp_path)
    tenants.create("planned", NAME, "18181818-0")
    with pytest.raises(TargetError, match="already"):
        tenants.missing("planned", "Otro", "18181818-0")
    with pytest.raises(TargetError, match="has the RUT"):
        tenants.missing("another", NAME, "18181818-0")


def test_a_journal_that_can_not_be_read_is_not_passed_over(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "tenant-x.json").write_bytes(b"")
    with pytest.raises(SmosError, match="half made"):
        platform.tenants(tmp_path).recover()


def test_a_silent_database_makes_nothing_in_vault(platform: Platform, tmp_path: Path) -> None:
    dead = Tenants(
        "host=127.0.0.1 port=9 password=canary",
        None,
        platform.client,
        mount="smarteros",
        journal=Journal(tmp_path),
    )
    with pytest.raises(UnreachableError) as error:
        dead.create("nowhere", NAME, "88888888-8")
    assert "canary" not in str(error.value)
    assert platform.traces("nowhere") == (0, ())


def test_the_command_asks_plans_and_tells(platform: Platform, tmp_path: Path) -> None:
    create = ("create", "shop", "--name", NAME, "--rut", "99.999.999-9")
    planned = platform.smos(tmp_path, *create, "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert platform.traces("shop") == (0, ())
    login = tmp_path / "login.json"
    done = platform.smos(tmp_path, *create, "--credentials", str(login), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["made"] == plan["would_make"]
    assert stat.S_IMODE(login.stat().st_mode) == 0o600
    assert json.loads(login.read_text())["secret_id"] not in done.stdout + done.stderr
    assert platform.smos(tmp_path, *create, "--credentials", str(login)).returncode == 2
    assert json.loads(platform.smos(tmp_path, "info", "shop", "--json").stdout)["name"] == NAME
    assert platform.smos(tmp_path, "create", "x", "--name", "X", "--rut", "99.999.999-8").returncode == 2
    assert platform.smos(tmp_path, "delete", "shop", text="y\n").returncode == 5
    assert platform.traces("shop") == (1, PARTS)
    assert json.loads(platform.smos(tmp_path, "delete", "shop", "--dry-run", "--json").stdout)["would_remove"]
    assert platform.smos(tmp_path, "delete", "shop", "--yes").returncode == 0
    assert platform.traces("shop") == (0, ())
    assert platform.smos(tmp_path, "info", "shop").returncode == 2


@pytest.mark.parametrize(
    ("text", "kept"),
    [("76.543.210-3", RUT), ("76543210-3", RUT), (" 10000013-k ", "10000013-K"), ("765432103", RUT)],
)
def test_a_rut_is_read_as_people_write_it(text: str, kept: str) -> None:
    assert parse_rut(text) == kept


@pytest.mark.parametrize(
    "text", ["76.543.210-4", "76.54.210-3", "1-9", "", "abc", "0765432-1", "76543210-33"]
)
def test_a_wrong_rut_is_refused(text: str) -> None:
    with pytest.raises(TargetError):
        parse_rut(text)
