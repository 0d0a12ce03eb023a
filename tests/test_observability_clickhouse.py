"""The embedded ClickHouse: what it takes, what it refuses, and what survives."""

import concurrent.futures
import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from smos.observability.clickhouse import ClickHouse, ClickHouseError
from smos.observability.verify.listening import listeners
from smos.provision import cache
from smos.provision.embedded.bytecode import with_bytecode
from smos.provision.embedded.clickhouse import EmbeddedClickHouse
from smos.provision.embedded.clickhousefront.frames import FrameError, frame, unframe
from smos.provision.owner import Owner
from smos.wait import wait_for


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedClickHouse]:
    with Owner("test-clickhouse") as owner:
        server = EmbeddedClickHouse(owner, database="default")
        server.start()
        yield server


@pytest.fixture
def client(server: EmbeddedClickHouse) -> Iterator[ClickHouse]:
    with ClickHouse(server.endpoint) as client:
        yield client


@pytest.fixture
def table(client: ClickHouse, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"t_{abs(hash(request.node.nodeid))}"
    client.execute(f"CREATE TABLE {name} (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    yield name
    client.execute(f"DROP TABLE {name} SYNC")


def raw(server: EmbeddedClickHouse, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
    endpoint = server.endpoint
    with httpx.Client(trust_env=False) as http_client:
        return http_client.post(
            endpoint.url + path,
            content=body,
            headers={"X-ClickHouse-User": endpoint.user, "X-ClickHouse-Key": endpoint.password, **headers},
        )


@pytest.mark.parametrize("user", ["otel", "default", ""])
@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_wrong_password_is_refused_and_nothing_is_run(
    server: EmbeddedClickHouse, client: ClickHouse, user: str, password: str
) -> None:
    with (
        ClickHouse(replace(server.endpoint, user=user, password=password)) as other,
        pytest.raises(ClickHouseError) as refused,
    ):
        other.execute("CREATE TABLE stolen (a UInt8) ENGINE = Memory")
    assert refused.value.code == 516
    assert client.value("SELECT count() FROM system.tables WHERE name = 'stolen'") == 0
    assert server.endpoint.password not in server.logs()
    assert server.endpoint.password not in repr(server.endpoint)


def test_it_listens_on_loopback_alone(server: EmbeddedClickHouse) -> None:
    assert listeners(server.pid) == (urlsplit(server.endpoint.url).netloc,)
    assert server.endpoint.url.startswith("http://127.0.0.1:")


def test_parameters_are_bound_and_not_pasted(client: ClickHouse) -> None:
    hostile = "it's \\ a\ttab\nline'; DROP TABLE x --"
    assert client.value("SELECT {text:String}", text=hostile) == hostile


def test_settings_of_one_request_do_not_reach_the_next(server: EmbeddedClickHouse) -> None:
    ask = "/?query=" + quote("SELECT getSetting('max_block_size')")
    with httpx.Client(base_url=server.endpoint.url, trust_env=False) as one:
        login = {"X-ClickHouse-User": server.endpoint.user, "X-ClickHouse-Key": server.endpoint.password}
        assert one.get(ask + "&max_block_size=77", headers=login).text.strip() == "77"
        assert one.get(ask, headers=login).text.strip() != "77"
    assert raw(server, ask + "&no_such_setting=1").headers["X-ClickHouse-Exception-Code"] == "115"


def test_data_survive_a_kill(server: EmbeddedClickHouse, client: ClickHouse, table: str) -> None:
    client.insert(table, [{"a": number, "b": "x"} for number in range(1000)])
    server.kill()
    assert not server.running
    server.start()
    assert client.value(f"SELECT count() FROM {table}") == 1000


def test_a_paused_server_answers_nobody_until_it_is_resumed(server: EmbeddedClickHouse) -> None:
    server.pause()
    try:
        with ClickHouse(server.endpoint, timeout_s=0.5) as hasty, pytest.raises(httpx.TimeoutException):
            hasty.value("SELECT 1")
    finally:
        server.resume()
    with ClickHouse(server.endpoint) as patient:
        assert patient.value("SELECT 1") == 1


def test_many_clients_at_once_lose_nothing(
    server: EmbeddedClickHouse, client: ClickHouse, table: str
) -> None:
    def work(number: int) -> int:
        with ClickHouse(server.endpoint) as own:
            for piece in range(10):
                own.insert(
                    table, [{"a": number * 10_000 + piece * 100 + row, "b": "x"} for row in range(100)]
                )
                own.value(f"SELECT count() FROM {table}")
        return number

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(8))) == list(range(8))
    (found,) = client.rows(f"SELECT count() AS rows, uniqExact(a) AS different FROM {table}")
    assert found == {"rows": 8000, "different": 8000}


@pytest.mark.parametrize("body", [b"garbage", b"\x02\x01\x01a\x06UInt64", b"\xff" * 100])
def test_an_insert_that_does_not_parse_inserts_nothing(
    server: EmbeddedClickHouse, client: ClickHouse, table: str, body: bytes
) -> None:
    answer = raw(server, "/?query=" + quote(f"INSERT INTO {table} (a, b) FORMAT Native"), body)
    assert answer.status_code >= 400
    assert "X-ClickHouse-Exception-Code" in answer.headers
    assert client.value(f"SELECT count() FROM {table}") == 0


def test_a_client_that_dies_within_an_insert_inserts_nothing(
    server: EmbeddedClickHouse, client: ClickHouse, table: str
) -> None:
    place = urlsplit(server.endpoint.url)
    connection = http.client.HTTPConnection(str(place.hostname), int(place.port or 0))
    connection.putrequest("POST", "/?query=" + quote(f"INSERT INTO {table} (a, b) FORMAT CSV"))
    connection.putheader("X-ClickHouse-User", server.endpoint.user)
    connection.putheader("X-ClickHouse-Key", server.endpoint.password)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    connection.send(b"6\r\n1,one\n\r\n6\r\n2,")
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    client.insert(table, [{"a": 9, "b": "whole"}])
    assert client.rows(f"SELECT a FROM {table}") == [{"a": 9}]


def test_frames_of_clickhouse_compression_survive_the_round_trip_and_damage_is_found() -> None:
    data = bytes(range(256)) * 9000
    framed = frame(data)
    assert len(framed) < len(data)
    assert unframe(framed) == data
    for at in (0, 15, 16, 20, 30, len(framed) - 1):
        broken = bytearray(framed)
        broken[at] ^= 1
        with pytest.raises(FrameError):
            unframe(bytes(broken))
    with pytest.raises(FrameError, match="cut"):
        unframe(framed[:-1])


def test_a_damaged_frame_is_refused_and_inserts_nothing(
    server: EmbeddedClickHouse, client: ClickHouse, table: str
) -> None:
    query = "/?decompress=1&query=" + quote(f"INSERT INTO {table} (a, b) FORMAT CSV")
    good = frame(b"1,one\n2,two\n")
    assert raw(server, query, good).status_code == 200
    broken = bytearray(good)
    broken[-2] ^= 4
    assert raw(server, query, bytes(broken)).status_code == 400
    assert client.value(f"SELECT count() FROM {table}") == 2


def test_types_that_a_newer_protocol_would_write_otherwise_are_refused_and_not_garbled(
    server: EmbeddedClickHouse,
) -> None:
    ask = "/?default_format=Native&client_protocol_version=54488&query="
    assert raw(server, ask + quote("SELECT 'x', toUInt32(1), toNullable('y')")).status_code == 200
    refused = raw(server, ask + quote("SELECT map('a', 1)"))
    assert refused.status_code == 501
    assert "Map" in refused.text


def test_time_to_live_removes_what_is_too_old_and_keeps_the_rest(client: ClickHouse) -> None:
    client.execute("DROP TABLE IF EXISTS aged SYNC")
    client.execute(
        "CREATE TABLE aged (t DateTime, hours UInt16) ENGINE = MergeTree PARTITION BY toDate(t) ORDER BY t "
        "TTL t + INTERVAL 72 HOUR SETTINGS ttl_only_drop_parts = 1"
    )
    client.execute("SYSTEM STOP TTL MERGES aged")
    client.execute(
        "INSERT INTO aged SELECT now() - toIntervalHour(arrayJoin([1, 71, 73, 100]) AS h), h "
        "SETTINGS max_partitions_per_insert_block = 0"
    )
    assert client.value("SELECT count() FROM aged") == 4
    client.execute("SYSTEM START TTL MERGES aged")
    client.execute("OPTIMIZE TABLE aged FINAL")
    kept = wait_for(
        lambda: [r["hours"] for r in client.rows("SELECT hours FROM aged ORDER BY hours") if len(r)],
        what="rows are there",
        deadline_s=120,
    )
    assert kept == [1, 71]
    client.execute("DROP TABLE aged SYNC")


def test_a_server_finds_its_packages_compiled_and_never_an_older_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "cache_dir", lambda: tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    source = tmp_path / "packages" / "said.py"
    source.parent.mkdir()
    source.write_text("import wave\nWORD = 'first'\n")
    compiled = with_bytecode(Path(sys.executable), source.parent, ["said"], without=["absent"])
    place = Path(compiled[1].removeprefix("pycache_prefix="))
    assert {path.name.split(".")[0] for path in place.rglob("*.pyc")} >= {"said", "wave"}

    def word() -> str:
        code = f"import sys; sys.path.insert(0, {str(source.parent)!r}); import said; print(said.WORD)"
        words = [sys.executable, "-I", "-S", "-B", *compiled, "-c", code]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    assert word() == "first"
    source.write_text("WORD = 'second, and longer'\n")
    assert word() == "second, and longer"
    assert with_bytecode(Path(sys.executable), source.parent, ["said"], without=["absent"]) == compiled
