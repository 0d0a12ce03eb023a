"""Containers, networks and volumes belong to an owner, go with it however it ends, and nobody else's are touched."""

import json
import os
import signal
import subprocess
import sys
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
