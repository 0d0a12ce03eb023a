"""What is looked at inside a container, on what a container could answer: nothing that was not seen counts as good."""

from types import SimpleNamespace
from typing import Any

import pytest

from smos.containers.inside import _files, _network, _privileges, _secrets
from smos.containers.lab import Subject

GOOD = "Name:\t{name}\nPid:\t{pid}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nNoNewPrivs:\t1\nSeccomp:\t2\n"
GOOD += "".join(f"{name}:\t{{mask}}\n" for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb"))
CONFIG: dict[str, Any] = {"MaskedPaths": ["/proc/kcore"], "PidMode": "", "NetworkMode": "own"}


def process(pid: int = 1, uid: int = 999, mask: str = "0000000000000000", name: str = "server") -> str:
    return GOOD.format(name=name, pid=pid, uid=uid, mask=mask)


def subject(**changes: Any) -> Subject:
    fields = {"name": "server", "process": None, "ports": frozenset({5432}), "places": (), **changes}
    return Subject(**fields)


def host(*, rc: int = 0, text: str = "") -> Any:
    """Return a container in which every command ends like this, and every file reads like this."""
    file = SimpleNamespace(content_string=text, user="root", mode=0o755, path="/x", exists=True)
    return SimpleNamespace(
        run=lambda *_: SimpleNamespace(rc=rc, stdout=text),
        file=lambda _: file,
        check_output=lambda _: "/x",
    )


def rights(text: str, **config: Any) -> dict[str, bool | None]:
    facts = {"HostConfig": {**CONFIG, **config}}
    return {one.claim: one.holds for one in _privileges(subject(), host(text=text), facts)}


def test_a_container_without_rights_has_none() -> None:
    assert set(rights(process() + process(pid=9)).values()) == {True}


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        (process() + process(pid=9, uid=0, name="crond"), "user"),
        (process() + process(pid=9, mask="0000000000000400"), "capabilities"),
        (process() + process(pid=9).replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"), "no-new-privileges"),
        (process() + process(pid=9).replace("Seccomp:\t2", "Seccomp:\t0"), "seccomp"),
    ],
    ids=["root", "capability", "new-privileges", "unfiltered"],
)
def test_a_second_process_counts_as_the_first(text: str, claim: str) -> None:
    assert rights(text)[claim] is False


@pytest.mark.parametrize(
    "config",
    [
        {"MaskedPaths": []},
        {"PidMode": "container:abc"},
        {"IpcMode": "host"},
        {"DeviceRequests": [{"Count": -1}]},
    ],
    ids=["unmasked", "pid-of-another", "host-ipc", "gpus"],
)
def test_what_is_shared_in_other_ways_is_shared(config: dict[str, Any]) -> None:
    assert rights(process(), **config)["own-namespaces"] is False


def test_a_mask_that_the_kernel_does_not_tell_proves_nothing() -> None:
    assert rights(process().replace("CapBnd", "CapXxx"))["capabilities"] is None


def test_an_image_without_the_tools_proves_nothing_about_files_and_ports() -> None:
    seen = {one.claim: one.holds for one in _files(subject(), host(rc=127), {})}
    assert seen["root-unwritable"] is None
    assert seen["scratch-not-executable"] is None
    facts: dict[str, Any] = {"NetworkSettings": {"Ports": {}}}
    assert {one.claim: one.holds for one in _network(subject(), host(rc=127), facts)}["ports"] is None


HEAD = "  sl  local_address rem_address   st\n"


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("0: 00000000:1538 00000000:0000 0A", True),  # 5432, declared
        ("0: 00000000:1E61 00000000:0000 0A", False),
        ("0: 00000000:1E61 00000000:0000 07", False),  # UDP
        ("0: 00000000:9C40 00000000:0000 07", True),  # a client's, that asks for a name
        ("0: 0100007F:1E61 00000000:0000 07", True),  # the container's own
    ],
    ids=["declared", "tcp", "udp", "udp-client", "udp-loopback"],
)
def test_what_listens_is_seen_over_tcp_and_udp(line: str, *, holds: bool) -> None:
    facts: dict[str, Any] = {"NetworkSettings": {"Ports": {}}}
    seen = _network(subject(), host(text=f"{HEAD}{HEAD}{line}\n"), facts)
    assert {one.claim: one.holds for one in seen}["ports"] is holds


def test_secrets_are_found_wherever_the_engine_shows_them_and_are_not_repeated() -> None:
    canary = "c4nary-value"
    config = {
        "Env": [
            f"DB_PASSWORD={canary}",
            f"URL=postgres://app:{canary}@db/x",
            "A_PASSWORD_FILE=/run/secrets/a",
            "TZ=UTC",
        ],
        "Labels": {"note": f"password={canary}", "cl.smarterbot.stack": "x"},
    }
    found = list(_secrets({"Config": config, "Path": "server", "Args": ["-v", f"--password={canary}"]}))
    assert found == ["DB_PASSWORD", "URL", "argument 2", "label note"]
    assert canary not in str(found)
