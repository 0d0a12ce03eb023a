"""The guard: the small process that owns all that a run starts or creates, and outlives it just long enough.

One guard serves one `Owner`. It is started as `python -I -S` (standard library only, one thread) and
talks to the runner over a socket pair, one JSON line a request, with file descriptors attached. It is the
guard that forks and execs the servers, for three reasons: a parent-death signal is tied to the *thread* that
forked, and the guard has one; whoever forks can reap, so a pid it signals is never a stranger's; and when the
runner dies, however it dies, the end of the socket tells the guard, which stops everything and removes the
directories.

Liveness is a lock: the guard holds `flock` on `<run>.lock` as long as it lives, so another run (even one in a
container that shares the directory) can tell a dead run from a living one without trusting pids.

Requests: `own` (a directory), `spawn`, `signal`, `close`. On systems without /proc, prctl or namespaces
(macOS) the guard works with `ps` and says which isolation it reached.

Every run starts one, so it imports little: what few of them need (and `typing`, `pathlib`) would be half of
its time. For the same reason the runner starts it as a module, whose bytecode is kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, NoReturn

LINUX = sys.platform == "linux"
GRACE_S = 2.0
"""How long servers may take to stop by themselves once their runner is gone, before they are killed."""
KILL_S = 10.0
"""How long killed processes may take to vanish (one in uninterruptible sleep can't be waited for)."""
TICK_S = 0.5
"""How often the guard looks whether its runner still lives, beside watching the socket."""
MOST_FDS = 8
PASSES = 100
"""How often a tree is gone through from which others remove parts meanwhile."""

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
IPC_RMID = 0
ISOLATED, CONFIGURED = "network-namespace", "configuration"


# --- facts about processes --------------------------------------------------------------------------------


def boot_id() -> str:
    """Return the identity of this boot (empty where the system has none)."""
    with contextlib.suppress(OSError):
        return _text("/proc/sys/kernel/random/boot_id").strip()
    return _ask("sysctl", "-n", "kern.bootsessionuuid")


def pid_namespace() -> str:
    """Return the identity of the pid namespace (empty where there is none): pids differ between them."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  (no pathlib here)
    return ""


def process_start(pid: int) -> str:
    """Return the moment the process began, in the system's own words; empty when no such process runs."""
    if not LINUX:
        return _ask("ps", "-o", "lstart=", "-p", str(pid))
    fields = _stat_fields(pid)
    return "" if not fields or fields[0] in {"Z", "X"} else fields[19]


def descendants(pid: int) -> list[int]:
    """Return the pids of all processes below `pid`, children before grandchildren."""
    below: dict[int, list[int]] = {}
    for child, parent in _parents().items():
        below.setdefault(parent, []).append(child)
    found: list[int] = []
    queue = [pid]
    while queue:
        children = below.pop(queue.pop(0), [])
        found += children
        queue += children
    return found


def _parents() -> dict[int, int]:
    found: dict[int, int] = {}
    if LINUX:
        for name in os.listdir("/proc"):  # noqa: PTH208  (no pathlib here)
            if name.isdecimal() and (fields := _stat_fields(int(name))):
                found[int(name)] = int(fields[1])
    else:
        for line in _ask("ps", "-axo", "pid=,ppid=").splitlines():
            child, parent = line.split()
            found[int(child)] = int(parent)
    return found


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the state on; none when the process is gone."""
    try:
        text = _text(f"/proc/{pid}/stat")
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()  # the command's name may hold blanks and brackets


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123  (no pathlib here)
        return file.read()


def _put(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123  (no pathlib here)
        file.write(text)


def _ask(*argv: str) -> str:
    import subprocess

    try:
        answer = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def send_signal(pid: int, number: int) -> bool:
    """Signal a process; False when it is gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def remove_tree(path: Path | str) -> None:
    """Remove a directory that is ours, with everything below, never following a symbolic link.

    What was restored from an archive may lack the owner's own permissions; an ordinary user gives them back
    first (root does not need them). Raises OSError when something remains.
    """
    import shutil

    if os.geteuid() != 0 and not os.path.islink(path) and os.path.isdir(path):  # noqa: PTH112, PTH114  (no pathlib here)
        os.chmod(path, 0o700)  # noqa: PTH101  (no pathlib here)
        for directory, names, _ in os.walk(path):
            for name in names:
                child = os.path.join(directory, name)  # noqa: PTH118  (no pathlib here)
                if not os.path.islink(child):  # noqa: PTH114  (no pathlib here)
                    os.chmod(child, 0o700)  # noqa: PTH101  (no pathlib here)
    for _ in range(PASSES):
        if not os.path.lexists(path):
            return
        with contextlib.suppress(FileNotFoundError):  # of a part that went by itself meanwhile
            shutil.rmtree(path)
    raise OSError(errno.EBUSY, "others go on removing parts of it", os.fspath(path))


def forget(record: Path | str) -> None:
    """Remove a run's files from the registry; the record first: without it nobody asks for the lock."""
    for suffix in (".json", ".log", ".lock"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_beside(record, suffix))  # noqa: PTH108  (no pathlib here)


def _beside(record: Path | str, suffix: str) -> str:
    """Return the path of another file of the run whose record this is."""
    return os.fspath(record).removesuffix(".json") + suffix


# --- the child, between fork and exec -----------------------------------------------------------------------


class _System:
    """The few system calls that Python has no name for; loaded before any fork."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True) if LINUX else None

    def prctl(self, option: int, value: int) -> None:
        if self._libc is not None and self._libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}) was refused")

    def unshare(self, flags: int) -> None:
        if self._libc is None:
            raise OSError("this system has no namespaces")
        if self._libc.unshare(flags) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def remove_segment(self, identity: int) -> None:
        """Remove a shared memory segment; one that is somebody else's stays."""
        if self._libc is not None:
            self._libc.shmctl(identity, IPC_RMID, None)


def cut_network(system: _System) -> None:
    """Move this process into a network namespace that has a loopback interface and nothing else.

    An ordinary user needs a user namespace for it, in which user and group stay what they are (PostgreSQL
    refuses user 0 inside one too). Raises OSError where the system refuses.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        system.unshare(CLONE_NEWNET)
    else:
        system.unshare(CLONE_NEWUSER | CLONE_NEWNET)
        _put("/proc/self/setgroups", "deny")
        _put("/proc/self/uid_map", f"{uid} {uid} 1")
        _put("/proc/self/gid_map", f"{gid} {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def free_segments(system: _System, pids: set[int]) -> bool:
    """Remove the shared memory segments (System V) of processes that are gone, as the end of a machine would.

    A database server that is killed leaves one, and a system has room for some thousand of them. Returns whether none
    of theirs is left: one that somebody is attached to stays.
    """
    free = True
    with contextlib.suppress(OSError):  # no such file: not Linux
        for row in _text("/proc/sysvipc/shm").splitlines()[1:]:
            _, identity, _, _, creator, _, attached, *_ = row.split()
            if int(creator) in pids:
                free = free and attached == "0"
                if attached == "0":
                    system.remove_segment(int(identity))
    return free


def network_refusal(system: _System) -> str:
    """Return why the network of a process can't be cut, empty when it can.

    Tried in a process of its own: where a system gives half of a namespace (Ubuntu's AppArmor rule lets it be
    made and then takes its rights), the server must not be left in that half.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            cut_network(system)
        except BaseException as error:  # noqa: BLE001  (nothing may return into the guard's loop from here)
            os.write(writer, (str(error) or type(error).__name__).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        refusal = answer.read().decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return refusal


def _become(system: _System, spec: dict[str, Any], fds: list[int], guard_pid: int, report: int) -> NoReturn:
    """Turn the forked child into the server. Whatever goes wrong is written to `report`."""
    stage = "prepare the process"
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)  # an ignored signal would stay ignored after exec
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for target, source in enumerate(fds):
            os.dup2(source, target)
        os.umask(0o077)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold rows and keys
        isolation = CONFIGURED
        if spec["no_network"]:
            stage = "cut the network"
            cut_network(system)
            isolation = ISOLATED
        stage = "drop to the service user"
        if spec["uid"] is not None:
            os.setgroups([])
            os.setgid(spec["gid"])
            os.setuid(spec["uid"])
        system.prctl(PR_SET_NO_NEW_PRIVS, 1)
        system.prctl(PR_SET_PDEATHSIG, spec["death_signal"])  # last: a change of credentials clears it
        if os.getppid() != guard_pid:
            os._exit(127)  # the guard died before the line above took effect
        stage = f"enter the directory {spec['cwd']}"
        os.chdir(spec["cwd"])
        stage = f"execute {spec['argv'][0]}"
        os.write(report, json.dumps({"isolation": isolation}).encode() + b"\n")
        os.execve(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606  (no shell is what is wanted)
    except BaseException as error:  # noqa: BLE001  (nothing may return into the guard's loop from here)
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        os.write(report, json.dumps({"error": f"could not {stage}: {text}"}).encode() + b"\n")
    os._exit(127)


# --- the guard itself ---------------------------------------------------------------------------------------


class Guard:
    """The loop, the record of what is owned, and the end of it all."""

    def __init__(self, channel: socket.socket, config: dict[str, Any]) -> None:
        self._channel = channel
        self._runner = int(config["runner"])
        self._system = _System()
        self._children: dict[int, dict[str, Any]] = {}
        self._status: dict[int, int] = {}
        self._struck: set[int] = set()
        """What did not end by itself."""
        self._childless = False
        """Whether nothing runs below this process, for sure: it adopts what its children leave behind."""
        self._number = 0
        self._refusal: str | None = None
        self._buffer = b""
        self._fds: list[int] = []
        self._record_path = str(config["record"])
        lock = os.open(_beside(self._record_path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)  # held until this process ends
        self._record: dict[str, Any] = {
            "id": config["id"],
            "label": config["label"],
            "uid": os.geteuid(),
            "boot": boot_id(),
            "pid_namespace": pid_namespace(),
            "runner": {"pid": self._runner, "start": process_start(self._runner)},
            "guard": {"pid": os.getpid(), "start": process_start(os.getpid())},
            "directories": [],
            "processes": [],
        }
        self._write_record()
        self._wake, waker = socket.socketpair()
        self._wake.setblocking(False)
        waker.setblocking(False)
        self._waker = waker
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._adopts = False
        with contextlib.suppress(OSError):  # an old kernel: orphans then go to init
            self._system.prctl(PR_SET_CHILD_SUBREAPER, 1)
            self._adopts = LINUX

    def serve(self) -> None:
        """Answer requests until the runner closes the channel, dies, or asks for the end."""
        self._reply({"ready": os.getpid()})
        closing = False
        while not closing and os.getppid() == self._runner:
            readable, _, _ = select.select([self._channel, self._wake], [], [], TICK_S)
            self._reap()
            if self._channel in readable:
                try:
                    data, fds, _, _ = socket.recv_fds(self._channel, 1 << 16, MOST_FDS)
                except OSError:
                    break
                for fd in fds:
                    os.set_inheritable(fd, False)
                self._fds += fds
                if not data:
                    break
                self._buffer += data
                while b"\n" in self._buffer and not closing:
                    line, self._buffer = self._buffer.split(b"\n", 1)
                    closing = self._answer(json.loads(line))
        problems = self._end()
        if closing:
            self._reply({"closed": True, "problems": problems})

    def _answer(self, request: dict[str, Any]) -> bool:
        """Carry out one request; True when it was the last."""
        operation = request["op"]
        self._number = request["n"]
        if operation == "close":
            return True
        try:
            if operation == "own":
                self._record["directories"].append(request["path"])
                self._write_record()
                answer: dict[str, Any] = {}
            elif operation == "spawn":
                answer = self._spawn(request)
            else:
                answer = {"gone": not self._signal(request)}
        except Exception as error:  # noqa: BLE001  (the runner turns it into a ProvisionError)
            answer = {"error": f"{type(error).__name__}: {error}"}
        self._reply(answer)
        return False

    def _reply(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the runner is gone: the loop notices
            self._channel.sendall(json.dumps({"n": self._number, **message}).encode() + b"\n")

    def _write_record(self) -> None:
        fresh = _beside(self._record_path, ".new")
        _put(fresh, json.dumps(self._record))
        os.replace(fresh, self._record_path)  # noqa: PTH105  (no pathlib here)

    def _spawn(self, spec: dict[str, Any]) -> dict[str, Any]:
        status, *standard = self._fds[:4]
        self._fds = self._fds[4:]
        answer: dict[str, Any] = {}
        if spec["no_network"]:
            if self._refusal is None:
                self._refusal = network_refusal(self._system)
            if self._refusal:
                answer["refused"] = self._refusal
                spec["no_network"] = False
        reader, writer = os.pipe()
        guard_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(self._system, spec, standard, guard_pid, writer)
        os.close(writer)
        for fd in standard:
            os.close(fd)
        with os.fdopen(reader, "rb") as report:
            messages = [json.loads(line) for line in report]
        answer["pid"] = pid
        for message in messages:
            answer |= message
        self._children[pid] = {"stop_signal": spec["stop_signal"]}
        self._status[pid] = status
        if "error" not in answer:
            entry = {"pid": pid, "start": process_start(pid), "name": spec["name"], "exe": spec["argv"][0]}
            living = [item for item in self._record["processes"] if item["pid"] in self._children]
            self._record["processes"] = [*living, entry]
            self._write_record()
        return answer

    def _signal(self, request: dict[str, Any]) -> bool:
        """Signal a child, and with `tree` its descendants too; the leader first, so that it forks no more."""
        pid, number = request["pid"], request["signal"]
        self._reap()
        if pid not in self._children:
            return False
        if request["tree"] and number == signal.SIGKILL:
            send_signal(pid, signal.SIGSTOP)  # what it forked after its children were listed would live on
        below = descendants(pid) if request["tree"] else []
        if not send_signal(pid, number):
            return False
        if request["tree"]:
            for child in {*below, *(descendants(pid) if number == signal.SIGSTOP else [])}:
                send_signal(child, number)
            if number == signal.SIGKILL:  # shared memory is free only when the last of them is gone
                self._await(
                    lambda: pid not in self._children and not any(process_start(child) for child in below),
                    KILL_S,
                )
                # A child that was being forked just then ends by itself, and holds the memory until it does.
                self._await(lambda: free_segments(self._system, {pid, *below}), KILL_S)
        return True

    def _reap(self) -> None:
        """Collect every child that ended, orphans included, and tell the runner how its own ended."""
        with contextlib.suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = self._adopts
                return
            self._childless = False
            if pid == 0:
                return
            if pid in self._children:
                del self._children[pid]
                fd = self._status.pop(pid)
                with contextlib.suppress(OSError):  # nobody reads it any more
                    os.write(fd, f"{os.waitstatus_to_exitcode(status)}\n".encode())
                os.close(fd)

    def _end(self) -> list[str]:
        """Stop every process, remove every directory, drop the record. Returns what could not be done."""
        for pid, child in self._children.items():
            send_signal(pid, child["stop_signal"])
        self._reap()
        for pid in {*self._below(), *self._children}:
            send_signal(pid, signal.SIGCONT)  # one that was paused could not end
        self._await(lambda: not self._children, GRACE_S)
        self._await(self._killed, KILL_S)
        free_segments(self._system, self._struck)
        problems = []
        for directory in reversed(self._record["directories"]):
            try:
                remove_tree(directory)
            except OSError as error:
                problems.append(f"{directory}: {error}")
        if not problems:  # otherwise the record stays, and a later run tries again
            forget(self._record_path)
        return problems

    def _killed(self) -> bool:
        """Kill what is left below this process; True when nothing is."""
        left = self._below()
        for pid in {*left, *self._children}:
            send_signal(pid, signal.SIGKILL)
            self._struck.add(pid)
        return not left and not self._children

    def _below(self) -> list[int]:
        """Return what runs below this process, without a look at every process of the machine where nothing does."""
        return [] if self._childless else descendants(os.getpid())

    def _await(self, done: Any, limit_s: float) -> None:
        """Reap until `done()` or the limit; woken by SIGCHLD, not by polling."""
        deadline = time.monotonic() + limit_s
        self._reap()
        while not done() and (left := deadline - time.monotonic()) > 0:
            select.select([self._wake], [], [], min(left, 0.05))
            self._reap()


def main() -> None:
    """Serve the runner that passed the socket and the configuration."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C is for the runner; the guard ends with it
    os.umask(0o077)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        channel.set_inheritable(False)
        Guard(channel, json.loads(sys.argv[2])).serve()


if __name__ == "__main__":
    main()
