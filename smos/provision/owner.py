"""The owner of everything that one run starts or creates: processes and directories, all ended together.

The work is done by the guard (see guard.py), a process of its own, so that nothing is left when the runner is
killed. What guard and runner left when both were killed is removed by the next owner (see reaper.py).
"""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from smos.errors import DeadlineError, ProvisionError
from smos.provision import guard
from smos.provision.process import OwnedProcess, tail
from smos.provision.reaper import reap
from smos.provision.users import ServiceUser, can_enter, service_user

__all__ = ["OwnedProcess", "Owner"]

GUARD_S = 120.0
"""Seconds within which the guard answers; starting one takes some 0.03 s."""
GUARD = "import sys; sys.path.append(sys.argv.pop(1)); import guard; guard.main()"
"""A module has bytecode, a script is compiled at each start. Its folder comes last: it hides no standard module."""
CLOSE_S = 900.0
"""Seconds that the end of a run may take: a restored volume of millions of files is removed then."""
MEMORY_DIR = Path("/dev/shm")  # noqa: S108  (owned directories with random names are made below it)
SHORT_DIR = Path("/tmp")  # noqa: S108  (likewise; only where the usual place is too deep for a socket)
MEMORY_ROOM = 2**30
"""Bytes that must be free on tmpfs before a directory is put there; containers often have only 64 MiB."""
LONGEST_SOCKET_DIR = 80
"""Characters: a socket's path may have 103 (macOS) or 107 (Linux) with its name, see unix(7)."""
BASE_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
"""What every owned process gets: nothing of the runner's environment, so no secret of it either."""


class Owner:
    """Owns the processes and directories of one run; a context manager.

    label: says in the record whose they are. base: where the directories go (default: $TMPDIR or /tmp).
    Raises ProvisionError when the guard can't be started, or the service user can't enter `base`.
    """

    def __init__(self, label: str = "smos", base: Path | None = None) -> None:
        self.id = f"r{secrets.token_hex(4)}"
        self.user: ServiceUser | None = service_user()
        self._creator = os.getpid()
        self._lock = threading.RLock()
        self._numbers = count(1)
        self._roots: dict[Path, Path] = {}
        self._processes: weakref.WeakSet[OwnedProcess] = weakref.WeakSet()
        self._closed = False
        self._closing: list[Callable[[], None]] = []
        self._passing: list[Path] | None = None
        place = Path(tempfile.gettempdir())
        if self.user is not None and not can_enter(place, self.user):
            place = SHORT_DIR  # root's own TMPDIR may be closed for everybody else
        home = _private(place / f"smos-{os.geteuid()}")
        self._registry = home / "runs"
        self._registry.mkdir(mode=0o700, exist_ok=True)
        self.reaped = reap(self._registry)
        """Ids of the dead runs whose leftovers this one removed."""
        self._record = self._registry / f"{self.id}.json"
        self._guard_log = self._registry / f"{self.id}.log"
        self._start_guard(label)
        try:
            self.run_dir = self._root(home if base is None else base)
            self._scratch = self.directory("tmp")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def directory(
        self, name: str, *, memory: bool = False, read_only: bool = False, near: Path | None = None
    ) -> Path:
        """Make an owned directory (0700, the service user's) and return it.

        memory: on tmpfs where it has room (no write to a disk waits), else like any other. near: below this
        directory (to share its file system) instead of where the others lie.
        read_only: the service user may read what is in it and change nothing (for configuration, where root
        runs the harness; an ordinary user's servers are that user).
        """
        root = self.run_dir
        if memory and _has_room(MEMORY_DIR):
            root = self._root(_private(MEMORY_DIR / f"smos-{os.geteuid()}"))
        elif near is not None:
            root = self._root(_private(near / f"smos-{os.geteuid()}"))
        return self._make(root, name, read_only=read_only)

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Remove the directories that are made within at its end, not only with the run: for many short works in turn.

        One work after the other; processes are the caller's to end. Raises ProvisionError when one has not ended yet,
        OSError when something can't be removed, after all that can be is.
        """
        if self._passing is not None:
            raise ProvisionError("A work of this run has not ended yet", remedy="one at a time")
        made: list[Path] = []
        self._passing = made
        try:
            yield
        finally:
            self._passing = None
            with contextlib.ExitStack() as stack:  # one that can't be removed keeps no other one
                for path in made:
                    stack.callback(guard.remove_tree, path)

    def socket_directory(self, name: str) -> Path:
        """Make an owned directory whose path is short enough for the socket of any server."""
        root = self.run_dir
        if len(str(root)) + len(name) > LONGEST_SOCKET_DIR:
            root = self._root(_private(SHORT_DIR / f"smos-{os.geteuid()}"))
        return self._make(root, name)

    def write(self, path: Path, text: str) -> None:
        """Write a configuration file that the service user can read, and nobody else."""
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        self._admit(path, 0o640)

    def give(self, path: Path | str) -> None:
        """Make a file or directory the service user's (nothing to do for an ordinary user)."""
        if self.user is not None:
            os.chown(path, self.user.uid, self.user.gid, follow_symlinks=False)

    def spawn(
        self,
        argv: Sequence[str | Path],
        *,
        name: str,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        as_service_user: bool = True,
        no_network: bool = False,
        stop_signal: int = signal.SIGTERM,
        death_signal: int = signal.SIGKILL,
    ) -> OwnedProcess:
        """Start a server in a session of its own, its output appended to `log`.

        argv: the first is an absolute path. env: added to a minimal environment; the runner's is not passed.
        stop_signal: how it is ended when the run ends. death_signal: what it gets if the guard is killed.
        Raises ProvisionError when it can't be executed.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        output = os.open(log, flags, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return self._spawn(
                argv,
                (nothing, output, output),
                name=name,
                log=log,
                env=env,
                cwd=cwd,
                as_service_user=as_service_user,
                no_network=no_network,
                stop_signal=stop_signal,
                death_signal=death_signal,
            )
        finally:
            os.close(nothing)
            os.close(output)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        input: bytes | str | None = None,  # noqa: A002  (the name that subprocess.run gives it)
        as_service_user: bool = True,
        cwd: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a short tool to its end; it is owned like a server, so nothing of it outlives the run.

        Raises ProvisionError with the end of its output when it fails (unless `check` is off) or when it is
        not done within `timeout_s` seconds (it is killed then).
        """
        words = [str(word) for word in argv]
        with _anonymous(memory=True) as stdin, _anonymous() as stdout, _anonymous() as stderr:
            _fill(stdin, input.encode() if isinstance(input, str) else input or b"")
            process = self._spawn(
                words,
                (stdin, stdout, stderr),
                name=Path(words[0]).name,
                env=env,
                cwd=cwd,
                as_service_user=as_service_user,
            )
            try:
                code = process.wait(timeout_s)
            except DeadlineError as error:
                process.kill()
                raise ProvisionError(
                    f"{words[0]} was not done within {timeout_s:g} s and was stopped",
                    remedy="look at its last output below; a slow machine may need a longer limit",
                    log=tail(_content(stderr)),
                ) from error
            done = subprocess.CompletedProcess(words, code, _content(stdout), _content(stderr))
        if check and code != 0:
            raise ProvisionError(
                f"{words[0]} failed with exit code {code}",
                remedy="its last output is below",
                log=tail(done.stderr or done.stdout),
            )
        return done

    @property
    def registry(self) -> Path:
        """The directory in which the runs of this user are recorded."""
        return self._registry

    def before_close(self, action: Callable[[], None]) -> None:
        """Run something at the end, before processes are stopped and directories removed; last come, first run."""
        self._closing.append(action)

    def tool(
        self,
        argv: Sequence[str | Path],
        fds: tuple[int, int, int],
        *,
        name: str,
        env: Mapping[str, str] | None = None,
    ) -> OwnedProcess:
        """Start a tool as the runner's own user, on (stdin, stdout, stderr) that stay the caller's to close.

        For tools whose output is read while they run. Raises ProvisionError when it can't be executed.
        """
        return self._spawn(argv, fds, name=name, env=env, as_service_user=False)

    def close(self) -> None:
        """Stop every process and remove every directory; may be called again, and by any thread."""
        with self._lock:
            if self._closed or os.getpid() != self._creator:
                return
            try:
                while self._closing:
                    self._closing.pop()()
            finally:
                self._end()

    def _end(self) -> None:
        with self._lock:
            self._closed = True
            problems: list[str] = []
            try:
                self._channel.settimeout(CLOSE_S)
                problems = list(self._exchange({"op": "close"}).get("problems", []))
            except (OSError, ProvisionError):
                self._guard.kill()  # it is dead or hangs; its children die with it
            self._channel.close()
            self._guard.wait(GUARD_S)
            for process in list(self._processes):
                process.forget()
            if self._record.exists():
                reap(self._registry)
            if self._record.exists():
                raise ProvisionError(
                    f"Some of the directories of run {self.id} could not be removed",
                    remedy="remove them by hand, they may hold personal data",
                    log="\n".join(problems) or str(self._record),
                )

    def request(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        """Ask the guard for something and return its answer. Raises ProvisionError."""
        with self._lock:
            if self._closed:
                raise ProvisionError(
                    f"Run {self.id} is closed", remedy="start servers before closing their owner"
                )
            answer = self._exchange(message, fds)
        if "error" in answer:
            raise ProvisionError(f"The guard could not do `{message['op']}`: {answer['error']}")
        return answer

    def _spawn(
        self,
        argv: Sequence[str | Path],
        fds: tuple[int, int, int],
        *,
        name: str,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        as_service_user: bool = True,
        no_network: bool = False,
        stop_signal: int = signal.SIGTERM,
        death_signal: int = signal.SIGKILL,
    ) -> OwnedProcess:
        user = self.user if as_service_user else None
        reader, writer = os.pipe()
        try:
            answer = self.request(
                {
                    "op": "spawn",
                    "argv": [str(word) for word in argv],
                    "name": name,
                    "env": {
                        **BASE_ENV,
                        "HOME": str(self.run_dir),
                        "TMPDIR": str(self.run_dir),
                        **(env or {}),
                    },
                    "cwd": str(cwd or "/"),
                    "uid": user and user.uid,
                    "gid": user and user.gid,
                    "no_network": no_network,
                    "stop_signal": int(stop_signal),
                    "death_signal": int(death_signal),
                },
                (writer, *fds),
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        process = OwnedProcess(self.request, answer, reader, name=name, log=log)
        self._processes.add(process)
        return process

    def _start_guard(self, label: str) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(GUARD_S)
        self._buffer = b""
        config = {
            "id": self.id,
            "label": label,
            "runner": self._creator,
            "record": str(self._record),
        }
        # It does not run in our working directory.
        kept = ("-X", f"pycache_prefix={Path(sys.pycache_prefix).absolute()}") if sys.pycache_prefix else ()
        if sys.dont_write_bytecode:
            kept = (*kept, "-B")
        program = [sys.executable, "-I", "-S", *kept, "-c", GUARD, str(Path(guard.__file__).parent)]
        program += [str(theirs.fileno()), json.dumps(config)]
        with theirs, self._guard_log.open("ab") as log:
            self._guard = subprocess.Popen(
                program,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={},
            )
        self._receive()

    def _exchange(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        """Send one request, return its answer; answers that an interrupted caller left unread are dropped."""
        number = next(self._numbers)
        data = json.dumps({"n": number, **message}).encode() + b"\n"
        try:
            sent = socket.send_fds(self._channel, [data], list(fds))
            self._channel.sendall(data[sent:])
        except OSError as error:
            raise self._lost() from error
        while (answer := self._receive())["n"] != number:
            pass
        return answer

    def _receive(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            try:
                data = self._channel.recv(1 << 16)
            except OSError as error:
                raise self._lost() from error
            if not data:
                raise self._lost()
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _lost(self) -> ProvisionError:
        return ProvisionError(
            "The guard of this run does not answer; the servers it started are gone",
            remedy="look for an out-of-memory kill in the system's log, then run again",
            log=tail(self._guard_log.read_bytes() if self._guard_log.exists() else b""),
        )

    def _root(self, home: Path) -> Path:
        """Make this run's directory below `home`, once, recorded before it exists."""
        if self.user is not None and not can_enter(home, self.user):
            raise ProvisionError(
                f"The user {self.user.name}, as whom the servers run, can't enter {home}",
                remedy="give a directory that everybody may pass through (chmod o+x), or none",
            )
        with self._lock:
            if home not in self._roots:
                path = home / self.id
                self.request({"op": "own", "path": str(path)})
                path.mkdir(mode=0o700)
                self._admit(path, 0o710)  # the service user passes through, others don't
                self._roots[home] = path
            return self._roots[home]

    def _make(self, root: Path, name: str, *, read_only: bool = False) -> Path:
        safe = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip(".-") or "d"
        path = root / f"{safe}-{next(self._numbers)}"
        path.mkdir(mode=0o700)
        if self._passing is not None:
            self._passing.append(path)
        if not read_only:
            self.give(path)
        else:
            self._admit(path, 0o750)
        return path

    def _admit(self, path: Path, mode: int) -> None:
        """Let the service user's group in; what it is stays root's."""
        if self.user is not None:
            os.chown(path, -1, self.user.gid)
            path.chmod(mode)


def _private(path: Path) -> Path:
    """Make the directory that holds this user's runs, or check that nobody else made it."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o711)
    facts = path.lstat()
    if path.is_symlink() or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise ProvisionError(
            f"{path} belongs to somebody else or can be written by others",
            remedy="remove it, or set TMPDIR to a directory of your own",
        )
    return path


def _has_room(place: Path) -> bool:
    try:
        facts = os.statvfs(place)
    except OSError:
        return False
    return os.access(place, os.W_OK) and facts.f_bavail * facts.f_frsize >= MEMORY_ROOM


@contextlib.contextmanager
def _anonymous(*, memory: bool = False) -> Iterator[int]:
    """Give the descriptor of a file without a name: nothing of it can be left behind.

    memory: where the system can, it never touches a disk (what a tool is told may be a secret).
    """
    if memory and hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("smos")
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryFile() as file:
            yield file.fileno()


def _fill(fd: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(fd, data[written:])
    os.lseek(fd, 0, os.SEEK_SET)


def _content(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0)
