"""CONTAINER-05: what is frozen, dead or cut off is never called healthy, and is healthy again when it was mended.

The service is asked where its clients come in. Four things are done to it: its processes are frozen, its network is
taken away, its packets are dropped without a word (a black hole, by the kernel's packet filter), it is killed. Each
time the engine still knows the container; only the service's own answer counts.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from smos.containers.lab import OPENBAO, POSTGRES, ContainerLab, Server
from smos.containers.observation import Observation, Observations
from smos.errors import DeadlineError, ProvisionError
from smos.provision.docker.engine import told
from smos.provision.docker.openbao import DockerOpenBao
from smos.provision.docker.process import ContainerProcess
from smos.vault.model import opened
from smos.vault.verify.bare import opened_up
from smos.wait import wait_for

FILTER_S = 30
KINDS = (OPENBAO, POSTGRES)
STATES = ("paused", "disconnected", "black-holed", "killed")


def observe(lab: ContainerLab) -> Observations:
    """Ask how a well service is, do the four things to it, ask each time, mend it, ask again."""
    found: list[Observation] = []
    for kind in (kind for kind in KINDS if kind in lab.kinds):
        with lab.server(kind) as server:
            if isinstance(server, DockerOpenBao):
                with opened(server.endpoint) as client:
                    opened_up(client)
            found += _course(lab, kind, server)
    return Observations(observed=tuple(found))


def _course(lab: ContainerLab, kind: str, server: Server) -> Iterator[Observation]:
    def sick(state: str) -> Observation:
        healthy, seen = lab.healthy(server, state)
        return Observation(claim=state, subject=kind, holds=healthy is not True, seen=f"{state}: {seen}")

    yield _is_well(lab, kind, server, "well")
    process = server.container
    if process is None:
        return
    process.pause()
    yield sick("paused")
    process.resume()
    yield _is_well(lab, kind, server, "mended", "paused")
    with _disconnected(lab, process):
        yield sick("disconnected")
    yield _is_well(lab, kind, server, "mended", "disconnected")
    try:
        with black_hole(process):
            yield sick("black-holed")
    except ProvisionError as error:
        yield Observation(claim="black-holed", subject=kind, holds=None, seen=error.message)
    yield _is_well(lab, kind, server, "mended", "black-holed")
    server.kill()
    yield sick("killed")


def _is_well(lab: ContainerLab, kind: str, server: Server, claim: str, after: str = "") -> Observation:
    """Wait until it is healthy: a mended service that stays unhealthy would be a false alarm for ever."""
    state = f"{claim} after {after}" if after else claim
    try:
        wait_for(
            lambda: lab.healthy(server, state)[0] is True, what=f"{kind} is healthy", deadline_s=lab.mended_s
        )
    except DeadlineError:
        return Observation(claim=claim, subject=kind, holds=False, seen=f"{state}: it is not healthy")
    return Observation(claim=claim, subject=kind, holds=True, seen=state)


@contextmanager
def _disconnected(lab: ContainerLab, process: ContainerProcess) -> Iterator[None]:
    """Take the container off its network; its published port goes with it and comes back with it."""
    network, name = lab.containers.network, process.container.id
    with told(f"disconnect {process.name}"):
        network.disconnect(name)
    try:
        yield
    finally:
        with told(f"connect {process.name}"):
            network.connect(name, aliases=[process.name])


@contextmanager
def black_hole(process: ContainerProcess) -> Iterator[None]:
    """Drop every packet that comes to the container over its network, without an answer to whoever sent it.

    Raises ProvisionError where this machine does not let us (it takes root, nsenter and iptables).
    """
    if os.geteuid() != 0:
        raise ProvisionError("A black hole can only be made by root", remedy="run this check as root")
    rule = ["INPUT", "!", "-i", "lo", "-j", "DROP"]
    _filter(process, ["-I", *rule])
    try:
        yield
    finally:
        _filter(process, ["-D", *rule])


def _filter(process: ContainerProcess, words: list[str]) -> None:
    argv = ["nsenter", "--target", str(process.pid), "--net", "iptables", "--wait", *words]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=FILTER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProvisionError(
            f"The packet filter can't be changed: {error}", remedy="install util-linux and iptables"
        ) from error
    if done.returncode != 0:
        raise ProvisionError(
            f"The packet filter of {process.name} can't be changed: {done.stderr.strip()[-200:]}",
            remedy="run this check as root, on the machine of the engine",
        )
