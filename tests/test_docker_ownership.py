"""Containers, networks and volumes belong to an owner, go with it however it ends, and nobody else's are touched."""

import contextlib
import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from smos.errors import ProvisionError
from smos.provision.docker.labels import OWNER, PID, PREFIX, START, Identity, identity, read_identity
from smos.provision.owner import Owner
from smos.wait import wait_for
from tests._docker_kit import needs_engine, tiny_image

ROOT = Path(__file__).resolve().parent.parent
SOON_S = 90.0
FOREVER = ["sleep", "100000"]


def everything_of(owner: str) -> list[str]:
    from smos.provision.docker.engine import engine_socket
    from smos.provision.docker.removal import EngineSocket

    return [f"{thing.kind} {thing.id}" for thing in EngineSocket(engine_socket()).things(owner)]


@contextmanager
def foreign(labels: dict[str, str]) -> Iterator[Any]:
    """Run a container, with a network and a volume, that is not ours; its labels are similar."""
    from smos.provision.docker.engine import engine

    client = engine()
    network = client.networks.create("smos-foreign-net", labels=labels)
    volume = client.volumes.create(labels=labels)
    container = client.containers.run(tiny_image(), FOREVER, detach=True, labels=labels, network_mode="none")
    try:
        yield lambda: (
            client.containers.get(container.id).status,
            client.networks.get(network.id).name,
            client.volumes.get(volume.id).name,
        )
    finally:
        container.remove(force=True, v=True)
        network.remove()
        volume.remove()


def test_labels_say_whose_an_object_is() -> None:
    mine = identity("r0123abcd", os.getpid())
    assert read_identity(mine.labels("server")) == mine
    assert not mine.is_dead()


@pytest.mark.parametrize(
    "changed",
    [
        {OWNER: "production"},
        {OWNER: ""},
        {PID: "12x"},
        {START: ""},
        {PREFIX + ".boot": None},
        {PREFIX + ".role": None},
    ],
    ids=["other-owner", "no-owner", "no-number", "no-start", "no-boot", "no-role"],
)
def test_labels_that_are_only_similar_are_nobody_of_ours(changed: dict[str, str | None]) -> None:
    labels = identity("r0123abcd", os.getpid()).labels("server") | changed
    assert read_identity({key: value for key, value in labels.items() if value is not None}) is None
    assert read_identity(None) is None


def test_only_a_process_that_certainly_ended_is_dead() -> None:
    alive = identity("r0123abcd", os.getpid())
    fields = {name: getattr(alive, name) for name in ("owner", "pid", "start", "boot", "pids", "machine")}
    assert Identity(**fields | {"start": "1"}).is_dead()
    assert Identity(**fields | {"boot": "another"}).is_dead() == bool(alive.machine)
    assert not Identity(**fields | {"start": "1", "pids": "another namespace"}).is_dead()
    assert not Identity(**fields | {"boot": "another", "machine": "another machine"}).is_dead()


@needs_engine
def test_an_owner_leaves_nothing_and_touches_nobody_elses() -> None:
    from smos.provision.docker.containers import containers_of

    similar = {OWNER: "production", "com.docker.compose.project": "smarter-vault"}
    with foreign(similar) as still_there, Owner("other") as other, Owner("mine") as mine:
        others = containers_of(other)
        bystander = others.run(tiny_image(), FOREVER, name="bystander", no_network=True)
        with Owner("gone") as gone:
            held = containers_of(gone)
            volume = held.make_volume("data")
            held.run(tiny_image(), FOREVER, name="server", volumes={str(volume.name): "/data"})
            paused = held.run(tiny_image(), FOREVER, name="paused", no_network=True)
            paused.pause()
            kinds = {line.split()[0] for line in everything_of(gone.id)}
            assert kinds == {"containers", "networks", "volumes"}
        assert everything_of(gone.id) == []
        assert still_there()[0] == "running"
        assert bystander.poll() is None
        assert not {other.id, gone.id} & set(containers_of(mine).reaped)


@needs_engine
def test_a_container_has_no_rights_and_can_write_nowhere() -> None:
    from smos.provision.docker.containers import containers_of

    with Owner("rights") as owner:
        held = containers_of(owner)
        command = "id -u; cat /proc/self/status; touch /x; touch /etc/x; touch /tmp/x && echo scratch"
        output = held.call(tiny_image(), ["sh", "-c", command], name="look", timeout_s=SOON_S).decode()
        uid = output.splitlines()[0]
        assert uid == held.user.partition(":")[0] != "0"
        assert "CapBnd:\t0000000000000000" in output
        assert "NoNewPrivs:\t1" in output
        assert output.count("Read-only file system") == 2
        assert "scratch" in output


@needs_engine
def test_a_program_that_fails_or_hangs_says_so_with_its_last_words() -> None:
    from smos.provision.docker.containers import containers_of

    with Owner("calls") as owner:
        held = containers_of(owner)
        with pytest.raises(ProvisionError, match="exit code 3") as failed:
            held.call(tiny_image(), ["sh", "-c", "echo why; exit 3"], name="fails", timeout_s=SOON_S)
        assert "why" in failed.value.log
        with pytest.raises(ProvisionError, match="was not done within"):
            held.call(tiny_image(), FOREVER, name="hangs", timeout_s=0.5)
        assert [line for line in everything_of(owner.id) if line.startswith("containers")] == []


def dead_labels(owner: str) -> dict[str, str]:
    """Return all the labels of an owner whose process has ended."""
    return identity(owner, os.getpid()).labels("server") | {START: "1"}


@needs_engine
def test_whoever_inherits_our_labels_from_an_image_is_nobody_of_ours() -> None:
    from smos.provision.docker.engine import engine, engine_socket
    from smos.provision.docker.removal import EngineSocket, reap_dead, remove_owned

    owner = "r00000bad"
    changes = [f"LABEL {key}={json.dumps(value)}" for key, value in dead_labels(owner).items()]
    client = engine()
    made = client.containers.create(tiny_image(), FOREVER)
    image = made.commit("smos-test-inherits", "1", changes=changes)
    users = client.containers.run(image.id, FOREVER, detach=True, network_mode="none")
    try:
        assert read_identity(users.labels) is not None
        asked = EngineSocket(engine_socket())
        assert owner not in reap_dead(asked)
        assert remove_owned(asked, owner) == 0
        users.reload()
        assert users.status == "running"
    finally:
        users.remove(force=True)
        made.remove(force=True)
        client.images.remove(image.id, force=True)


@needs_engine
def test_a_dead_owners_network_that_somebody_else_uses_stays_and_stops_no_run() -> None:
    from smos.provision.docker.engine import engine, engine_socket
    from smos.provision.docker.removal import EngineSocket, reap_dead

    owner, client = "r00000ce1", engine()
    # The owner lives until its network is used: any other run that starts now would reap it.
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        try:
            labels = identity(owner, process.pid).labels("server")
            network = client.networks.create(f"smos-{owner}-private-1", labels=labels)
            users = client.containers.run(tiny_image(), FOREVER, detach=True, network=network.name)
        finally:
            process.kill()
    try:
        told: list[ProvisionError] = []
        asked = EngineSocket(engine_socket())
        assert owner not in reap_dead(asked, limit_s=1.0, complain=told.append)
        assert any(owner in error.message and "disconnect" in error.remedy for error in told)
        users.reload()
        assert users.status == "running"
        users.remove(force=True)
        wait_for(
            lambda: (reap_dead(asked), not everything_of(owner))[1],
            what="the network is reaped when nobody uses it",
            deadline_s=SOON_S,
        )
    finally:
        with contextlib.suppress(Exception):  # gone, which is what was asked for
            users.remove(force=True)
        with contextlib.suppress(Exception):
            network.remove()


class Restarting(http.server.BaseHTTPRequestHandler):
    """An engine that is being restarted: refuses two answers, then has nothing of ours."""

    refusals = 2

    def do_GET(self) -> None:
        """Answer one list."""
        type(self).refusals -= 1
        body = b"{}" if self.path.startswith("/volumes") else b"[]"
        self.send_response(503 if self.refusals >= 0 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        """Say who asks: a Unix socket's client has no address."""
        return "engine"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_engine_that_is_restarted_is_asked_again_by_whoever_removes(tmp_path: Path) -> None:
    from smos.provision.docker.removal import EngineSocket, remove_owned

    place = tmp_path / "engine"

    def come_up() -> None:
        with socketserver.UnixStreamServer(str(place), Restarting) as server:
            coming.set()
            while Restarting.refusals > -3:  # what all three lists take
                server.handle_request()

    coming = threading.Event()
    engine_thread = threading.Timer(0.3, come_up)  # until then there is no socket either
    engine_thread.start()
    try:
        assert remove_owned(EngineSocket(place), "r0123abcd", limit_s=SOON_S) == 0
    finally:
        engine_thread.join(SOON_S)
    assert coming.is_set()
    assert Restarting.refusals == -3


def test_whoever_may_not_use_the_engine_is_told_that_and_how(monkeypatch: pytest.MonkeyPatch) -> None:
    from smos.provision.docker import engine

    monkeypatch.setattr("os.access", lambda *_: False)
    said = engine.not_allowed(ROOT)
    assert "this user may not use it" in said
    assert "group `docker`" in engine.RIGHTS_REMEDY


RUNNER = """
import os, sys, time
from smos.provision.docker.containers import containers_of
from smos.provision.owner import Owner
with Owner("victim") as owner:
    held = containers_of(owner)
    volume = held.make_volume("data")
    held.run(sys.argv[1], ["sleep", "100000"], name="one", volumes={volume.name: "/data"})
    held.run(sys.argv[1], ["sh", "-c", "while :; do touch /place/x; done"], name="writes", no_network=True,
             places=[__import__("smos.provision.docker.containers", fromlist=["Place"]).Place(outside=owner.directory("place"), inside="/place")])
    print(owner.id, held._watchdog.pid, owner.run_dir, flush=True)
    time.sleep(100000)
"""


def victim() -> tuple["subprocess.Popen[str]", str, int, Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, tiny_image()], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    owner, watchdog, place = process.stdout.readline().split()
    return process, owner, int(watchdog), Path(place)


@needs_engine
def test_what_a_killed_runner_owned_is_removed_by_its_watchdog() -> None:
    process, owner, _, place = victim()
    with process:
        assert len(everything_of(owner)) == 4
        process.kill()
    wait_for(lambda: not everything_of(owner), what="the watchdog has removed everything", deadline_s=SOON_S)
    wait_for(lambda: not place.exists(), what="the directories are gone as well", deadline_s=SOON_S)


@needs_engine
def test_what_a_killed_runner_and_its_killed_watchdog_left_is_reaped_at_the_next_start() -> None:
    from smos.provision.docker.containers import containers_of

    process, owner, watchdog, _ = victim()
    with process:
        assert len(everything_of(owner)) == 4
        os.kill(watchdog, signal.SIGKILL)
        process.kill()
    with Owner("next") as following:
        containers_of(following)  # or another run that starts at this moment: whoever comes first
        wait_for(lambda: not everything_of(owner), what="the dead owner's things are gone", deadline_s=SOON_S)


TESTS = """
import os, pytest
from smos.provision.docker.containers import containers_of
from smos.provision.owner import Owner

@pytest.mark.parametrize("number", range(4))
def test_that_never_ends(number, tmp_path):
    with Owner("worker") as owner:
        held = containers_of(owner)
        held.run({image!r}, ["sleep", "100000"], name="server",
                 volumes={{held.make_volume("data").name: "/data"}})
        with open({place!r} + "/" + owner.id, "w") as file:
            file.write(str(os.getpid()))
        held.call({image!r}, ["sleep", "100000"], name="hangs", timeout_s=100000)
"""


@needs_engine
def test_four_workers_whose_runner_is_killed_leave_no_container_network_or_volume(tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    (tmp_path / "test_endless.py").write_text(
        TESTS.format(image=tiny_image(), place=str(started)), encoding="utf-8"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n4",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:allure_pytest",
        str(tmp_path),
    ]
    with subprocess.Popen(
        argv,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as run:
        try:
            wait_for(
                lambda: len(list(started.iterdir())) == 4, what="four workers have servers", deadline_s=SOON_S
            )
            owners = [path.name for path in started.iterdir()]
            assert all(len(everything_of(owner)) >= 3 for owner in owners)
        finally:
            for (
                path
            ) in started.iterdir():  # the workers too: as when a machine's supervisor ends all of a job
                os.kill(int(path.read_text(encoding="utf-8")), signal.SIGKILL)
            run.kill()
    wait_for(
        lambda: not any(everything_of(owner) for owner in owners),
        what="nothing of the four workers is left",
        deadline_s=SOON_S,
    )


def test_the_watchdog_needs_no_package() -> None:
    # -S: without site-packages, as it is started.
    program = "import sys; sys.path.insert(0, sys.argv[1]); import smos.provision.docker.removal, smos.provision.docker.watchdog, smos.provision.reaper; print(json.dumps(sorted(sys.modules)) if False else len(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import json;" + program, str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SOON_S,
    )
    assert done.returncode == 0, done.stderr
    assert int(json.loads(done.stdout)) > 0
