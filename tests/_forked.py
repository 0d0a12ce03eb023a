"""Runs of `smos` and of pytest in processes of their own that begin where their imports have ended.

A start of either is mostly imports, the same ones hundreds of times over. One process per test process does them once
and forks: what a command sees (arguments, environment, working directory, standard streams, exit code) is what a
process from the start sees. It is one request after the other. What is about the start itself, about signals or
about terminals starts a real process instead; so does a platform without pidfd (macOS).
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SERVER = "import sys; from tests._forked import serve; serve(int(sys.argv[1]))"
START_S = 300
"""Limit against hangs of a fork; the first one waits for the imports."""
SMOS = [
    "smos.cli.app",
    "typer._adapters",
    "smos.target",
    "smos.checks.registry",
    "smos.config.store",
    "smos.drill.plan",
    "smos.backup.catalog",
    "smos.evidence.history",
    "smos.evidence.accounting",
    "smos.provision.owner",
    "psycopg",
    "hvac",
    "filelock",
    "jinja2",
    "rich.console",
    "rich.table",
    "smos.rls.probe",
    "smos.rls.judge",
    "smos.tenants",
    "smos.vault",
    "smos.demo",
    "smos.restore.plan",
    "smos.restore.server",
    "smos.restore.swap",
    "smos.restore.opening",
    "smos.restore.run",
    "smos.restore.mend",
    "smos.backup.create",
    "smos.evidence.page",
]
PYTEST = [
    "pytest",
    "_pytest.assertion.rewrite",
    "_pytest._argcomplete",
    "allure",
    "allure_commons.reporter",
    "allure_commons.logger",
    "doctest",
    "tomllib",
    "pydantic",
    "pydantic.dataclasses",
    "ruamel.yaml",
    "jinja2",
    "junitparser",
    "rich.table",
    "filelock",
    "attr",
    "execnet",
    "smos.target",
    "smos.checks.registry",
    "smos.drill.asked",
    "smos.drill.phases",
    "smos.drill.record",
    "smos.drill.run",
    "smos.clock",
    "smos.pytest_arguments",
    "smos.evidence.reports",
    "smos.evidence.page",
    "smos.evidence.junit",
    "smos.evidence.table",
    "smos.evidence.detection",
    "smos.evidence.campaign",
    "smos.evidence.waivers",
    "smos.faults.registry",
    "smos.failover.facts",
    "smos.evidence.oscal",
    "smos.evidence.sarif",
]
"""Nothing that pytest would rewrite: no plugin and nothing under fixtures/ or tests/."""


def run_smos(
    words: Sequence[object],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    text: str = "",
    timeout: float = 300,
) -> "subprocess.CompletedProcess[str]":
    """Run `smos WORDS` with `text` on its standard input."""
    if not hasattr(os, "pidfd_open"):
        return subprocess.run(
            [Path(sys.executable).with_name("smos"), *map(str, words)],
            env=dict(env), cwd=cwd, input=text, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
    return _server("smos").run([str(Path(sys.executable).with_name("smos")), *words], env, cwd, text, timeout)


def run_pytest(
    words: Sequence[object], *, env: Mapping[str, str], cwd: Path, timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Run `python -m pytest WORDS`."""
    if not hasattr(os, "pidfd_open"):
        return subprocess.run(
            [sys.executable, "-m", "pytest", *map(str, words)],
            env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip
    return _server("pytest").run(["pytest", *words], env, cwd, "", timeout)


class Server:
    """The process that has imported everything; it ends with this one."""

    def __init__(self, kind: str) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            env = {
                name: value for name, value in os.environ.items() if not name.startswith(("SMOS_", "PYTEST_"))
            }
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(theirs.fileno()), kind],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        self._owner = os.getpid()
        self.lost = False
        """Whether an answer of it was not waited for."""
        atexit.register(self.close)

    def run(
        self, words: Sequence[object], env: Mapping[str, str], cwd: Path | None, text: str, timeout: float
    ) -> "subprocess.CompletedProcess[str]":
        """Fork, run, wait; kill what takes longer than `timeout` seconds. Raises subprocess.TimeoutExpired."""
        argv = [str(word) for word in words]
        request = json.dumps({"argv": argv, "env": dict(env), "cwd": str(cwd or Path.cwd())}).encode()
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            given.write(text.encode())
            given.seek(0)
            fds = [item.fileno() for item in (given, out, err)]
            pid = 0
            try:
                self._socket.settimeout(START_S)
                socket.send_fds(self._socket, [len(request).to_bytes(4, "big")], fds)
                self._socket.sendall(request)
                pid = int.from_bytes(_exactly(self._socket, 4), "big")
                self._socket.settimeout(timeout)
                code = int.from_bytes(_exactly(self._socket, 4), "big", signed=True)
            except (
                BaseException
            ) as error:  # a limit of pytest's as well: its answer is not the next command's
                self._give_up(pid)
                if pid and isinstance(error, TimeoutError):
                    raise subprocess.TimeoutExpired(argv, timeout) from None
                raise
            for item in (out, err):
                item.seek(0)
            stdout, stderr = (item.read().decode("utf-8", "backslashreplace") for item in (out, err))
            return subprocess.CompletedProcess(argv, code, stdout, stderr)

    def _give_up(self, pid: int) -> None:
        """End it and what it runs; the next command has another one."""
        self.lost = True
        atexit.unregister(self.close)
        self._process.kill()
        self._process.wait()
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._socket.close()

    def close(self) -> None:
        """Let it end."""
        self._socket.close()
        if os.getpid() == self._owner:
            self._process.wait(timeout=60)


_SERVERS: dict[str, Server] = {}


def _server(kind: str) -> Server:
    if kind not in _SERVERS or _SERVERS[kind].lost:
        _SERVERS[kind] = Server(kind)
    return _SERVERS[kind]


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise EOFError("the process that forks has ended")
        found += more
    return found


# --- in the process that forks ------------------------------------------------------------------------------


def serve(descriptor: int) -> None:
    """Import, then fork for every request until the other side has gone. Nothing returns from here."""
    kind = sys.argv[2]
    gc.disable()
    _preload(SMOS if kind == "smos" else PYTEST)
    if kind == "pytest":
        _prepare_pytest()
    gc.freeze()
    gc.enable()
    connection = socket.socket(fileno=descriptor)
    while True:
        request, fds = _request(connection)
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become(request, fds)
            _leave_with(_entry(kind))
        for item in fds:
            os.close(item)
        connection.sendall(pid.to_bytes(4, "big"))
        _, status = os.waitpid(pid, 0)
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))


def _request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Wait for the next request, with its descriptors; end this process when the other side has gone."""
    head, fds, _, _ = socket.recv_fds(connection, 4, 3)
    if len(head) < 4:
        os._exit(0)
    return json.loads(_exactly(connection, int.from_bytes(head, "big"))), fds


def _preload(names: Sequence[str]) -> None:
    for name in names:
        __import__(name)


def _prepare_pytest() -> None:
    """Do what every run would do again and come to the same: load pytest's own plugins, read who announces others."""
    from importlib import metadata

    from _pytest.config import default_plugins

    from smos.evidence.page import template

    _preload([f"_pytest.{name}" for name in default_plugins])
    template()
    read: Any = metadata.Distribution.entry_points
    known: dict[Path, metadata.EntryPoints] = {}

    def entry_points(self: Any) -> metadata.EntryPoints:
        if self._path not in known:
            known[self._path] = read.fget(self)
        return known[self._path]

    metadata.PathDistribution.entry_points = property(entry_points)  # type: ignore[assignment]
    for item in metadata.distributions():
        assert item.entry_points is not None


def _leave_with(entry: Callable[[], Any]) -> None:
    """Run what this process is for and end as an interpreter does, but without taking every module apart."""
    code: Any = 0
    try:
        code = entry()
    except SystemExit as asked:
        code = asked.code
    if code is not None and not isinstance(code, int):
        sys.exit(code)
    threading._shutdown()  # type: ignore[attr-defined]  # the two things that an interpreter does first
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit((code or 0) & 0xFF)


def _entry(kind: str) -> Callable[[], Any]:
    if kind == "smos":
        from smos.cli.app import main

        return main
    from _pytest.config import console_main

    from smos.pytest_arguments import join_arguments

    _fork_workers()
    join_arguments(sys.argv)  # what the .pth file does at the start of an interpreter
    return console_main


def _fork_workers() -> None:
    """Let the workers of pytest-xdist begin where the imports have ended, too.

    What forks them is forked here, before this process becomes their controller: nothing that a controller loads is
    theirs. A worker sees what `python -u -c BOOTSTRAP` sees.
    """
    from execnet import gateway_io

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    if os.fork() == 0:
        ours.close()
        _serve_workers(theirs, gateway_io.popen_bootstrapline)
    theirs.close()

    class Worker:
        """What execnet uses of subprocess.Popen; its two pipes are the worker's life line."""

        def __init__(self) -> None:
            given, feed = os.pipe()
            answers, out = os.pipe()
            request = json.dumps({"env": dict(os.environ), "cwd": str(Path.cwd())}).encode()
            socket.send_fds(ours, [len(request).to_bytes(4, "big")], [given, out, 2])
            ours.sendall(request)
            os.close(given)
            os.close(out)
            _, (self._handle,), _, _ = socket.recv_fds(ours, 1, 1)
            self.stdin, self.stdout = os.fdopen(feed, "wb"), os.fdopen(answers, "rb")

        def wait(self) -> None:
            select.select([self._handle], [], [])

        def kill(self) -> None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def start(self: Any, args: Sequence[str], execmodel: Any) -> None:
        assert args == [sys.executable, "-u", "-c", gateway_io.popen_bootstrapline], args
        self.popen = Worker()
        gateway_io.Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)

    gateway_io.Popen2IOMaster.__init__ = start  # type: ignore[method-assign]


def _serve_workers(connection: socket.socket, bootstrap: str) -> None:
    """Fork a worker for every request until the controller has gone. Only a worker leaves, as its interpreter would."""
    while True:
        request, fds = _request(connection)
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become({"argv": ["-c"], **request}, fds)
            sys.path[0] = ""
            _leave_with(lambda: exec(bootstrap, {"__name__": "__main__"}))  # noqa: S102  (what `python -c` does with it)
        for item in fds:
            os.close(item)
        handle = os.pidfd_open(pid)  # it is not waited for here, so this is no other process
        socket.send_fds(connection, [b"1"], [handle])
        os.close(handle)


def _become(request: dict[str, Any], fds: Sequence[int]) -> None:
    """Take over streams, arguments, environment and working directory of the process that this stands for."""
    for number, item in enumerate(fds):
        os.dup2(item, number)
        os.close(item)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv[:] = request["argv"]
    # The entry point of `smos` sees its own folder first, `python -m` sees the working directory.
    sys.path[0] = request["cwd"] if request["argv"][0] == "pytest" else str(Path(request["argv"][0]).parent)
    for place in reversed(request["env"].get("PYTHONPATH", "").split(os.pathsep)):
        if place and place not in sys.path:
            sys.path.insert(1, place)
    encoding, _, errors = request["env"].get("PYTHONIOENCODING", "utf-8").partition(":")
    sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115  (the process' own)
    sys.stdout = open(1, "w", encoding=encoding, errors=errors or "strict", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
