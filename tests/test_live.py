"""Live targets against a real sshd: what is run on the host, how backups come over, and what a hostile host gets."""

import os
import shlex
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smos.checks.dr.production import of_all, of_newest
from smos.clock import SystemClock
from smos.live.commands import allow_list, argv
from smos.live.declared import HostSource, HostTarget, Service, Ssh
from smos.live.errors import REMEDIES, LiveError
from smos.live.facts import FetchFacts, LiveFacts
from smos.live.fetch import Fetcher
from smos.live.host import Answer, Host
from smos.live.observe import observe, state_of
from smos.live.sources import open_source
from smos.live.transport import quoted, transport_of
from smos.provision.owner import Owner
from smos.target import Limits, load_target
from smos.verdict import Judgement, fail
from tests._sshd_kit import Sshd, host, needs_sshd

NOW = SystemClock()
ROOT = Path(__file__).resolve().parent.parent
PATIENT = Limits(stall_seconds=60, fetch_seconds=240, files=1000)
BRISK = PATIENT.model_copy(update={"stall_seconds": 1})


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with Owner("test-sshd") as owner, host(owner, "h") as running:
        yield running


@pytest.fixture
def fresh(sshd: Sshd) -> Iterator[Sshd]:
    """Give the same server with an empty backup directory and no command of its own."""
    yield sshd
    sshd.clear_tools()
    for path in sshd.backups.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.fixture
def owner() -> Iterator[Owner]:
    with Owner("test-live") as owner:
        yield owner


def target(sshd: Sshd) -> HostTarget:
    return HostTarget(
        address=sshd.address,
        ssh=Ssh(known_hosts=sshd.known_hosts, identity_file=sshd.identity, config_file="/dev/null"),
    )


def connect(sshd: Sshd, owner: Owner) -> Host:
    connected = Host(transport_of(target(sshd), owner, None), owner)
    connected.open()
    return connected


def fetch(sshd: Sshd, owner: Owner, place: Path, limits: Limits = PATIENT) -> tuple[Fetcher, list[str]]:
    said: list[str] = []
    place.mkdir(exist_ok=True)
    source = HostSource(kind="host", path=str(sshd.backups))
    remote = open_source(source, connect(sshd, owner), owner, stall_s=limits.stall_seconds)
    fetcher = Fetcher(remote, place, limits, said.append)
    fetcher.list()
    fetcher.newest(NOW.now(), "UTC")
    fetcher.rest()
    return fetcher, said


def put(sshd: Sshd, name: str, content: bytes = b"x") -> Path:
    path = sshd.backups / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- what is run ----------------------------------------------------------------------------------------------------


def test_nothing_but_the_list_can_be_run_and_no_word_becomes_another() -> None:
    assert set(allow_list()["host"]) == {
        "list", "read", "clock", "memory", "room", "inodes", "container", "unit", "uptime",
    }  # fmt: skip
    assert argv("read", path="/b/a b;c", first_byte="1") == ["tail", "-c", "+1", "/b/a b;c"]
    for name, words in (
        ("rm", {}),
        ("container", {"container": "-rf"}),
        ("container", {"container": "a b"}),
        ("unit", {"unit": "a; reboot"}),
        ("read", {"path": "relative", "first_byte": "1"}),
        ("read", {"path": "/x", "first_byte": "0"}),
    ):
        with pytest.raises(Exception, match=r"list of commands|can't be"):
            argv(name, **words)


@needs_sshd
def test_the_host_sees_the_commands_of_the_list_and_no_other(
    fresh: Sshd, owner: Owner, tmp_path: Path
) -> None:
    put(fresh, "a b'c;$(touch evil)-20261101_020000.sql", b"1234")
    before = sorted(path.name for path in fresh.directory.rglob("*"))
    fresh.forget_commands()
    fetcher, _ = fetch(fresh, owner, tmp_path / "copy")
    there = connect(fresh, owner)
    facts = observe(there, target(fresh), ("/", str(fresh.backups)), NOW)
    state = state_of(there, Service(name="cron.service", kind="systemd"), NOW)
    seen = fresh.commands
    first_words = {line.split()[0] for line in seen}
    assert first_words <= {"find", "tail", "date", "cat", "df", "docker", "systemctl"}
    assert fetcher.facts.problem is None
    assert (tmp_path / "copy" / "a b'c;$(touch evil)-20261101_020000.sql").read_bytes() == b"1234"
    assert facts.problems == ()
    assert abs(facts.clock_offset_s or 9) < 5 + facts.clock_uncertainty_s
    assert {room.path for room in facts.rooms} == {"/", str(fresh.backups)}
    assert state.healthy is not True or "active" in state.detail
    ran = sum(one.times for one in there.commands) + 3  # the fetch's two listings and one file
    assert len(seen) == ran, seen
    assert sorted(path.name for path in fresh.directory.rglob("*") if path.name != "commands") == [
        name for name in before if name != "commands"
    ]


HOSTILE_WORDS = [
    "a b'c;$(touch evil)",
    "x\\'$(touch evil)\"'",
    "back\\\\slash\\",
    "line\nbreak`touch evil`",
    "-oProxyCommand=x",
    "ñ*?{a,b}~!%&|<>#",
    "",
]


@pytest.mark.parametrize(
    "shell", ["sh", "bash", "dash", pytest.param("fish", marks=pytest.mark.skipif(
        not shutil.which("fish"), reason="fish is not installed"))],
)  # fmt: skip
def test_names_reach_the_command_as_they_are_whatever_shell_logs_in(shell: str, tmp_path: Path) -> None:
    line = " ".join(quoted(word) for word in ("printf", "%s\\0", *HOSTILE_WORDS))
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [shell, "-c", line], cwd=tmp_path, env=env, capture_output=True, check=True, timeout=60
    )
    assert done.stdout.decode().split("\0")[:-1] == HOSTILE_WORDS
    assert not (tmp_path / "evil").exists()


def test_no_backslash_is_left_where_a_shell_could_read_it_as_an_escape() -> None:
    # fish reads \' and \\ within single quotes; within double quotes it and POSIX shells agree on \\.
    assert quoted("a\\'b") == "'a'\"\\\\'\"'b'"
    assert shlex.split(quoted("a\\'b")) == ["a\\'b"]


@pytest.mark.parametrize(
    "address",
    [
        "ssh://-oProxyCommand=x@h", "ssh://-F/tmp/x", "ssh://a@-oProxyCommand=x", "ssh://a;touch@h", "docker://-it",
        "ssh://h:99999", "ssh://h:0", "ssh://[::::]", "ssh://h/etc", "local:///x",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_an_error_of_the_target(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        HostTarget(address=address)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("container", '{"Status":"running","Running":true,"StartedAt":"2026-13-99T99:00:00Z"} 0'),
        ("unit", f"LoadState=loaded\nActiveState=active\nSubState=exited\nNRestarts={'9' * 9000}"),
        (
            "unit",
            f"LoadState=loaded\nActiveState=active\nSubState=x\nActiveEnterTimestampMonotonic={'9' * 500}",
        ),
    ],
)
def test_numbers_and_times_that_no_machine_has_are_no_health_and_no_crash(name: str, text: str) -> None:
    class Lying:
        def ask(self, asked: str, **_: str) -> Answer:
            said = "1000.0 1.0" if asked == "uptime" else text
            return Answer(code=0, out=said.encode(), said="", began_s=0.0, took_s=0.0)

    kind = "systemd" if name == "unit" else name
    state = state_of(Lying(), Service(name="it", kind=kind), NOW)  # type: ignore[arg-type]  # asked, nothing else
    assert state.healthy is None
    assert state.running_s is None


# --- the host's key -------------------------------------------------------------------------------------------------


@needs_sshd
@pytest.mark.parametrize(
    ("known", "code"),
    [("", "host-key-unknown"), ("other", "host-key-changed"), ("refused", "host-refused-login")],
)
def test_a_host_that_is_not_the_known_one_gets_nothing(
    fresh: Sshd, owner: Owner, tmp_path: Path, known: str, code: str
) -> None:
    hosts = tmp_path / "known_hosts"
    identity = fresh.identity
    if known == "refused":
        hosts.write_text(fresh.known_hosts.read_text())
        identity = tmp_path / "stranger"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", identity], check=True, timeout=60
        )
    elif known:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True, timeout=60
        )
        key = (tmp_path / "k.pub").read_text().split()[:2]
        hosts.write_text(f"[127.0.0.1]:{fresh.port} {' '.join(key)}\n")
    else:
        hosts.write_text("")
    before = hosts.read_bytes()
    fresh.forget_commands()
    there = HostTarget(
        address=fresh.address, ssh=Ssh(known_hosts=hosts, identity_file=identity, config_file="/dev/null")
    )
    with pytest.raises(LiveError) as raised:
        Host(transport_of(there, owner, None), owner).open()
    assert raised.value.code == code
    assert raised.value.remedy == REMEDIES[code]
    assert fresh.commands == []
    assert "is not there" not in str(raised.value)
    assert hosts.read_bytes() == before  # nothing was learnt on the way


# --- bytes ----------------------------------------------------------------------------------------------------------


@needs_sshd
def test_a_connection_that_drops_in_the_middle_is_taken_up_where_it_broke(
    fresh: Sshd, owner: Owner, tmp_path: Path
) -> None:
    content = os.urandom(3_000_000)
    put(fresh, "postgres-20261101_020000.sql.gz", content)
    # The first answer ends in the middle with the whole connection: its sshd is killed.
    fresh.tool(
        "tail",
        f"if [ ! -e {fresh.directory}/record/dropped ]; then : > {fresh.directory}/record/dropped\n"
        f'/usr/bin/head -c 1000000 "$3"; sleep 0.3; kill -9 $(ps -o ppid= -p $(ps -o ppid= -p $PPID)) $PPID; sleep 5; fi\n'
        'exec /usr/bin/tail "$@"',
    )
    fetcher, said = fetch(fresh, owner, tmp_path / "copy")
    (fresh.directory / "record" / "dropped").unlink()
    facts = fetcher.facts
    assert facts.problem is None, facts.problem
    assert facts.resumed >= 1
    assert "again at byte" in said[0]
    assert (tmp_path / "copy" / "postgres-20261101_020000.sql.gz").read_bytes() == content
    assert facts.newest_bytes == 3_000_000
    assert facts.bytes_per_s


@needs_sshd
@pytest.mark.parametrize(
    ("tools", "code"),
    [
        ({"tail": '[ "$2" = +1 ] && head -c 3 "$3"; exec sleep 60'}, "fetch-stalled"),
        ({"tail": 'head -c 10 "$3"'}, "source-changed"),
        ({"tail": 'cat "$3"; exec cat /dev/zero'}, "source-changed"),
        ({"tail": "echo no >&2; exit 1"}, "file-unreadable"),
        ({"find": "exec yes evil"}, "host-answer-unreadable"),
        ({"find": 'echo "Welcome!"; exec /usr/bin/find "$@"'}, "host-answer-unreadable"),  # as a .bashrc does
        ({"find": "while :; do printf 'f\\t1\\t1\\t1\\t1\\0f%s\\0\\0' $((i=i+1)); done"}, "listing-too-long"),
        ({"find": "printf 'f\\t1\\t1\\t1\\t1\\0../../evil\\0\\0'"}, "unsafe-name"),
        ({"find": "printf 'f\\t1\\t1\\t1\\t1\\0/etc/evil\\0\\0'"}, "unsafe-name"),
        (
            {"find": "printf 'l\\t1\\t1\\t1\\t1\\0d\\0/etc\\0f\\t1\\t1\\t1\\t1\\0d/evil\\0\\0'; :"},
            "file-unreadable",
        ),
        (
            {"find": "printf 'f\\t99999999999999\\t1\\t1\\t1\\0huge-20261101_020000.sql\\0\\0'"},
            "runner-disk-full",
        ),
        ({"find": "echo gone >&2; exit 1"}, "backup-directory-unreadable"),
        ({"find": "exit 127"}, "host-command-missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_hostile_or_broken_host_is_a_clear_finding_and_leaves_nothing(
    fresh: Sshd, owner: Owner, tmp_path: Path, tools: dict[str, str], code: str
) -> None:
    put(fresh, "postgres-20261101_020000.sql.gz", b"0123456789abcdef")
    for name, script in tools.items():
        fresh.tool(name, script)
    place = tmp_path / "deep" / "copy"
    place.parent.mkdir()
    fetcher, _ = fetch(fresh, owner, place, BRISK if code == "fetch-stalled" else PATIENT)
    facts = fetcher.facts
    assert facts.problem is not None
    assert facts.problem.code == code, facts.problem
    assert code in REMEDIES
    assert list(place.rglob("*")) == []
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["copy", "deep"]


@needs_sshd
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_runner_whose_disk_fills_says_so_and_is_empty_again(
    fresh: Sshd, owner: Owner, tmp_path: Path
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", place], check=False, timeout=60)
    if done.returncode:
        pytest.skip("this container may not mount")
    try:
        put(fresh, "postgres-20261101_020000.sql.gz", bytes(3_000_000))
        (place / "other").write_bytes(bytes(2_000_000))  # somebody else's, there before
        small, _ = fetch(fresh, owner, place)
        assert small.facts.problem is not None
        assert small.facts.problem.code == "runner-disk-full"  # seen before the first byte
        assert small.facts.total_bytes == 0

        (place / "other").unlink(missing_ok=True)
        eater = place / "eater"

        def eat(host_says: str) -> None:
            eater.write_bytes(bytes(1_800_000))

        eaten = fresh.directory / "record" / "eaten"
        wait = f"while [ ! -e {eaten} ]; do sleep 0.05; done"
        fresh.tool("tail", f'head -c 1000000 "$3"; {wait}; exec /usr/bin/tail -c +1000001 "$3"')
        source = HostSource(kind="host", path=str(fresh.backups))
        fetcher = Fetcher(open_source(source, connect(fresh, owner), owner, stall_s=9), place, PATIENT, eat)
        fetcher.list()
        thread = threading.Thread(target=fetcher.newest, args=(NOW.now(), "UTC"))
        thread.start()
        while thread.is_alive() and not any(path.stat().st_size > 900_000 for path in place.glob("p*.gz")):
            thread.join(0.02)
        if thread.is_alive():
            eat("")
        eaten.touch()
        thread.join()
        eaten.unlink()
        assert fetcher.facts.problem is not None
        assert fetcher.facts.problem.code == "runner-disk-full"
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", place], check=True, timeout=60)


@needs_sshd
def test_strange_names_links_and_special_files_come_over_as_what_they_are(
    fresh: Sshd, owner: Owner, tmp_path: Path
) -> None:
    put(fresh, "line\nbreak-20261101_020000.sql", b"a")
    put(fresh, "smos-20261101_020000/databases/n8n/toc.dat", b"b" * 70_000)
    put(fresh, "empty-20261101_020000.sql", b"")
    (fresh.backups / "latest").symlink_to("smos-20261101_020000")
    (fresh.backups / "out").symlink_to("/etc/passwd")
    os.mkfifo(fresh.backups / "pipe-20261101_020000.sql")
    fetcher, _ = fetch(fresh, owner, tmp_path / "copy")
    facts = fetcher.facts
    assert (facts.problem, facts.later) == (None, None)
    assert facts.total_files == 3
    assert [note.code for note in facts.notes] == ["special-file"]
    copy = tmp_path / "copy"
    assert (copy / "line\nbreak-20261101_020000.sql").read_bytes() == b"a"
    assert str((copy / "out").readlink()) == "/etc/passwd"
    there, here = (base / "smos-20261101_020000/databases/n8n/toc.dat" for base in (fresh.backups, copy))
    assert abs(there.stat().st_mtime - here.stat().st_mtime) < 0.01
    assert stat.S_IMODE(here.stat().st_mode) == 0o600


@needs_sshd
def test_only_the_newest_set_counts_for_recovery_time_and_a_change_meanwhile_is_seen(
    fresh: Sshd, owner: Owner, tmp_path: Path
) -> None:
    for day in (1, 2, 3):
        put(fresh, f"postgres-2026110{day}_020000.sql.gz", b"p" * day)
        put(fresh, f"volumes-2026110{day}_020500.tar.gz", b"v" * day)
    place = tmp_path / "copy"
    place.mkdir()
    source = HostSource(kind="host", path=str(fresh.backups))
    fetcher = Fetcher(
        open_source(source, connect(fresh, owner), owner, stall_s=9), place, PATIENT, lambda _: None
    )
    fetcher.list()
    fetcher.newest(NOW.now(), "UTC")
    assert sorted(path.name for path in place.iterdir()) == [
        "postgres-20261103_020000.sql.gz",
        "volumes-20261103_020500.tar.gz",
    ]
    put(fresh, "postgres-20261103_020000.sql.gz", b"PPP")
    fetcher.rest()
    assert fetcher.facts.newest_bytes == 6
    assert fetcher.facts.total_files == 6
    assert fetcher.facts.changed == ("postgres-20261103_020000.sql.gz",)
    assert fetcher.facts.newest_changed == fetcher.facts.changed


def test_a_backup_that_changed_while_it_was_read_is_neither_green_nor_blamed() -> None:
    fetched = FetchFacts(
        source="x", listed=2, listed_bytes=2, newest_files=1, newest_bytes=1, newest_s=1.0, total_files=2,
        total_bytes=2, total_s=1.0, resumed=0, changed=("new", "old"), newest_changed=("new",),
    )  # fmt: skip
    target = load_target(ROOT / "targets" / "production.example.yml")
    damaged = Judgement((fail("compression-corrupt", "the copy is damaged", "…"),))
    for fetch, codes in (
        (fetched, {"source-changed"}),
        (replace(fetched, newest_changed=()), {"compression-corrupt"}),
    ):
        live = LiveFacts(host=None, fetch=fetch, certificates=(), vault=None)
        seen = of_newest(live, lambda: damaged)
        assert {one.code for one in seen.findings} == codes
        every = {one.code for one in of_all(target, live, lambda: damaged).findings}
        assert every >= codes | {"source-changed"}  # an older set that changed is never green either
        assert ("compression-corrupt" in every) is ("compression-corrupt" in codes)
