"""The guard and the reaper: whatever way a run ends, nothing of it is left."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smos.errors import DeadlineError, ProvisionError
from smos.provision import guard
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.guard import process_start, remove_tree
from smos.provision.owner import Owner
from smos.provision.reaper import reap
from smos.wait import wait_for

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks at processes through /proc"
)

GONE_S = 60
"""Seconds within which nothing may be left of a killed run."""

RUNNER = """
import json, os, sys
from smos.provision.owner import Owner
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.base import start_all
owner = Owner("test")
postgres = EmbeddedPostgres(owner, name="p", memory=True)
openbao = EmbeddedOpenBao(owner, name="v")
start_all(postgres, openbao)
{more}
print(json.dumps({{
    "id": owner.id, "pid": os.getpid(), "guard": owner._guard.pid,
    "directories": [str(owner.run_dir), str(postgres.data_dir)], "child": globals().get("child"),
}}), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def running(more: str = "", place: str = "") -> Iterator[tuple[subprocess.Popen[str], dict]]:
    """Start a runner that has started a PostgreSQL and an OpenBao; give it and what it says about itself."""
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER.format(more=textwrap.dedent(more))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, **({"TMPDIR": place} if place else {})},
    ) as runner:
        try:
            assert runner.stdout is not None
            yield runner, json.loads(runner.stdout.readline())
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(runner.pid, signal.SIGKILL)


@contextlib.contextmanager
def short_directory() -> Iterator[str]:
    """Give a directory that the service user can pass through, short enough for a socket's path."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o711)
        yield path


def processes_of(run: str) -> list[int]:
    """Find the processes that name the run in their command line or work inside its directories."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            place = str((entry / "cwd").readlink())
            if run in place or run.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def programs_of(run: str) -> set[str]:
    """Return the names of the programs that these processes execute."""
    return {Path(f"/proc/{pid}/comm").read_text().strip() for pid in processes_of(run)}


def wait_until_nothing_is_left(facts: dict) -> None:
    def nothing() -> bool:
        return not processes_of(facts["id"]) and not any(Path(path).exists() for path in facts["directories"])

    wait_for(
        nothing,
        what="nothing of the run is left",
        deadline_s=GONE_S,
        on_timeout=lambda: (
            f"{processes_of(facts['id'])} {[p for p in facts['directories'] if Path(p).exists()]}"
        ),
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_runner_that_ends_by_a_signal_leaves_no_process_and_no_directory(number: signal.Signals) -> None:
    with running() as (runner, facts):
        assert len(processes_of(facts["id"])) >= 4
        assert all(Path(path).is_dir() for path in facts["directories"])
        os.killpg(runner.pid, number)
        runner.wait(GONE_S)
        wait_until_nothing_is_left(facts)


def test_a_forked_child_of_the_runner_does_not_keep_the_run_alive() -> None:
    fork = """
        child = os.fork()
        if child == 0:
            os.setsid()
            import signal; signal.pause()
    """
    with running(fork) as (runner, facts):
        try:
            runner.kill()
            runner.wait(GONE_S)
            wait_until_nothing_is_left(facts)
        finally:
            os.kill(facts["child"], signal.SIGKILL)


def test_paused_servers_end_with_their_runner() -> None:
    with running("postgres.pause(); openbao.pause()") as (runner, facts):
        runner.kill()
        wait_until_nothing_is_left(facts)


def test_what_a_killed_guard_and_a_killed_runner_leave_is_removed_by_the_next_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        short_directory() as place,
        running("postgres.pause()", place) as (runner, facts),
    ):
        monkeypatch.setattr(tempfile, "tempdir", place)  # no other test's owner comes first
        runner.send_signal(signal.SIGSTOP)
        os.kill(facts["guard"], signal.SIGKILL)
        runner.kill()
        runner.wait(GONE_S)
        wait_for(lambda: not process_start(facts["guard"]), what="the guard is dead", deadline_s=GONE_S)
        assert all(Path(path).is_dir() for path in facts["directories"])
        with Owner("next") as owner:
            assert facts["id"] in owner.reaped
        wait_until_nothing_is_left(facts)


def test_when_the_guard_dies_its_servers_die_and_the_runner_gets_a_clear_error() -> None:
    owner = Owner("test")
    try:
        process = owner.spawn(["/bin/sleep", "600"], name="sleeper", log=owner.run_dir / "log")
        os.kill(owner._guard.pid, signal.SIGKILL)
        with pytest.raises(ProvisionError, match="guard of this run died"):
            process.wait(GONE_S)
        wait_for(lambda: not process_start(process.pid), what="the server is gone", deadline_s=GONE_S)
        with pytest.raises(ProvisionError, match="does not answer"):
            owner.run(["/bin/true"], timeout_s=60)
    finally:
        owner.close()
    assert not owner.run_dir.exists()


def test_the_reaper_leaves_living_runs_alone() -> None:
    with Owner("living") as living:
        process = living.spawn(["/bin/sleep", "600"], name="sleeper", log=living.run_dir / "log")
        with Owner("other") as other:
            assert living.id not in other.reaped
        assert process.poll() is None
        assert living.run_dir.is_dir()


def test_the_reaper_kills_no_process_and_removes_no_directory_that_is_not_the_dead_runs(
    tmp_path: Path,
) -> None:
    registry = tmp_path / "runs"
    stranger_dir = tmp_path / "stranger"
    own_dir = tmp_path / "r00000001"
    for path in (registry, stranger_dir, own_dir):
        path.mkdir()
    with subprocess.Popen(["/bin/sleep", "600"], cwd=tmp_path) as stranger:
        record = {
            "id": "r00000001",
            "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "pid_namespace": str(Path("/proc/self/ns/pid").readlink()),
            "directories": [str(stranger_dir), str(own_dir)],
            "processes": [{"pid": stranger.pid, "start": "1", "name": "x", "exe": "/bin/true"}],
        }
        (registry / "r00000001.json").write_text(json.dumps(record))
        (registry / "r00000002.json").write_text("not a record")
        try:
            assert reap(registry) == ("r00000001",)
            assert stranger.poll() is None
        finally:
            stranger.kill()
    assert stranger_dir.is_dir()
    assert not own_dir.exists()
    assert (registry / "r00000002.json").exists()


def test_nothing_of_the_runners_environment_reaches_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMOS_CANARY_TOKEN", "canary-5f1c")
    with Owner("test") as owner:
        output = owner.run(["/usr/bin/env"], timeout_s=60, env={"GIVEN": "yes"}).stdout.decode()
    assert "canary" not in output
    assert "GIVEN=yes" in output


def test_a_tool_that_fails_is_an_error_with_the_end_of_its_output() -> None:
    with Owner("test") as owner:
        with pytest.raises(ProvisionError, match="exit code 3") as caught:
            owner.run(["/bin/sh", "-c", "echo the reason >&2; exit 3"], timeout_s=60)
        assert caught.value.log == "the reason"
        with pytest.raises(ProvisionError, match="No such file"):
            owner.run(["/nowhere/tool"], timeout_s=60)
        assert owner.run(["/bin/cat"], timeout_s=60, input="told").stdout == b"told"


def test_a_tool_that_hangs_is_stopped_with_everything_it_started() -> None:
    mark = f"613.{os.getpid()}613"  # no other process of this machine has it in its arguments
    with Owner("test") as owner:
        with pytest.raises(ProvisionError, match="not done within"):
            owner.run(["/bin/sh", "-c", f"sleep {mark} & sleep {mark}"], timeout_s=0.3)
        assert not processes_of(mark)


def test_directories_are_private_to_the_service_user_and_gone_after_close() -> None:
    with Owner("test") as owner:
        path = owner.directory("data/../x", memory=True)
        facts = path.stat()
        assert stat.S_IMODE(facts.st_mode) == 0o700
        assert ".." not in path.parts
        if owner.user is not None:
            assert facts.st_uid == owner.user.uid != 0
            assert stat.S_IMODE(owner.run_dir.stat().st_mode) == 0o710
            sealed = owner.directory("etc", read_only=True)
            assert owner.run(["/bin/ls", sealed], timeout_s=60).returncode == 0
            assert owner.run(["/bin/touch", sealed / "x"], timeout_s=60, check=False).returncode != 0
        else:
            assert facts.st_uid == os.geteuid()
    assert not path.exists()
    assert not owner.run_dir.exists()
    owner.close()
    with pytest.raises(ProvisionError, match="closed"):
        owner.run(["/bin/true"], timeout_s=60)


def test_servers_run_as_an_ordinary_user_and_cannot_become_root() -> None:
    with Owner("test") as owner:
        status = owner.run(["/bin/cat", "/proc/self/status"], timeout_s=60).stdout.decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert "0" not in fields["Uid"].split()
    assert fields["CapEff"] == "0" * 16
    assert fields["NoNewPrivs"] == "1"


def test_without_network_a_process_reaches_no_port_of_the_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Owner("test") as owner:
        attempt = ["/bin/bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]}"]
        log = owner.run_dir / "log"
        assert owner.spawn(attempt, name="open", log=log).wait(60) == 0
        cut = owner.spawn(attempt, name="cut", log=log, no_network=True)
        if cut.isolation != "network-namespace":
            assert cut.refusal
            pytest.skip(f"this system gives no network namespace: {cut.refusal}")
        assert cut.wait(60) != 0
        assert "refused" in cut.log_tail()
        routes = owner.spawn(
            ["/bin/cat", "/proc/net/route"], name="routes", log=owner.run_dir / "routes", no_network=True
        )
        routes.wait(60)
        assert len(routes.log_tail().splitlines()) == 1


def test_where_the_system_refuses_a_namespace_the_reason_is_told() -> None:
    class Refusing(guard._System):
        def unshare(self, flags: int) -> None:
            raise PermissionError(flags, "Operation not permitted")

    assert "not permitted" in guard.network_refusal(Refusing())


def test_a_process_can_be_killed_while_another_thread_waits_for_it() -> None:
    with Owner("test") as owner, ThreadPoolExecutor(1) as pool:
        process = owner.spawn(["/bin/sleep", "600"], name="s", log=owner.run_dir / "log")
        waiting = pool.submit(process.wait, 120)
        process.kill()
        assert waiting.result(60) == -signal.SIGKILL


@pytest.mark.skipif(not Path("/proc/sysvipc/shm").exists(), reason="looks at shared memory through /proc")
def test_a_database_server_that_is_killed_leaves_no_shared_memory() -> None:
    def segments(data: Path) -> set[str]:
        mine = (data / "postmaster.pid").read_text().split("\n")[6].split()[1]
        return {row.split()[1] for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]} & {mine}

    with Owner("test") as owner:
        server = EmbeddedPostgres(owner, name="p")
        server.start()
        assert segments(server.data_dir)
        server.kill()
        assert not segments(server.data_dir)
        server.start()
        assert segments(server.data_dir)


STUBBORN = """
import ctypes, pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0, 4096, 0o1600)
libc.shmat(segment, None, 0)
path = pathlib.Path(sys.argv[1])
path.with_suffix(".new").write_text(str(segment))
path.with_suffix(".new").rename(path)
signal.pause()
"""


@pytest.mark.skipif(not Path("/proc/sysvipc/shm").exists(), reason="looks at shared memory through /proc")
def test_what_does_not_end_with_its_run_leaves_no_shared_memory(tmp_path: Path) -> None:
    told = tmp_path / "segment"

    def there() -> bool:
        rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return told.read_text() in {row.split()[1] for row in rows}

    with Owner("test") as owner:
        owner.spawn(
            [sys.executable, "-c", STUBBORN, told], name="s", log=owner.run_dir / "log", as_service_user=False
        )
        wait_for(told.is_file, what="it has a segment", deadline_s=GONE_S)
        assert there()
    assert not there()


def test_a_paused_process_holds_still_until_it_is_resumed() -> None:
    mark = f"617.{os.getpid()}617"  # no other process of this machine has it in its arguments
    with Owner("test") as owner:
        process = owner.spawn(["/bin/sh", "-c", f"sleep {mark}; true"], name="s", log=owner.run_dir / "log")
        # Not only two processes: a shell that starts its child by vfork can't be stopped before the child has executed.
        wait_for(lambda: programs_of(mark) == {"sh", "sleep"}, what="both run", deadline_s=120)
        process.pause()

        def states() -> set[str]:
            return {Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] for pid in processes_of(mark)}

        wait_for(lambda: states() == {"T"}, what="both hold still", deadline_s=120)
        with pytest.raises(DeadlineError):
            process.wait(0.1)
        process.resume()
        wait_for(lambda: states() == {"S"}, what="both go on", deadline_s=120)
        assert process.stop() is True
        assert process.poll() == -signal.SIGTERM


def test_removing_a_tree_follows_no_link_and_stops_at_no_permission(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    tree = tmp_path / "tree"
    (tree / "closed" / "deep").mkdir(parents=True)
    (tree / "closed" / "deep" / "file").write_text("x")
    (tree / "link").symlink_to(outside)
    (tree / "closed" / "deep").chmod(0)
    (tree / "closed").chmod(0)
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "kept").exists()
    remove_tree(tree)


@pytest.mark.skipif(
    os.geteuid() != 0, reason="an ordinary user's servers are that user: they enter what it enters"
)
def test_a_place_that_the_service_user_can_not_enter_is_avoided_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ProvisionError, match="can't enter"):
        Owner("test", base=closed)
    monkeypatch.setattr(tempfile, "tempdir", str(closed))
    with Owner("test") as owner:
        assert not owner.run_dir.is_relative_to(closed)
        assert owner.run(["/bin/ls", owner.directory("d")], timeout_s=60).returncode == 0
