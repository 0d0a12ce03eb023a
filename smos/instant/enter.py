"""Mount overlays where nobody else sees them, become an ordinary user again, and execute a program.

Started as `python -I -S enter.py {"…"} PROGRAM …` (standard library only). The mounts live in a mount namespace
of this process alone (as root directly, else inside a user namespace of its own): they end with the last process
in it, however that dies, so nobody has to unmount anything. Without a program it tries the mounts, gives what is
in them to the user, and ends: that is how it is found out whether a system allows them.

The specification is a JSON object: `base` (directory that the names below are relative to), `roots` (names; each
has `lower`, `upper`, `work` and `data` in it), `sources` (what is shown at `lower`, one a root), `user_namespace`,
`options` (of overlayfs), `uid` and `gid` (whom to become; null: stay), `death_signal`.
"""

import ctypes
import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
FAILED = 125
"""Exit code when the mounts are refused; PostgreSQL never ends with it."""


def main(specification: str, command: list[str]) -> None:
    """Do it; return only without a command. Raises OSError where the system refuses."""
    spec: dict[str, Any] = json.loads(specification)
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    _namespace(libc, user=spec["user_namespace"])
    os.chdir(spec["base"])
    for root, source in zip(spec["roots"], spec["sources"], strict=True):
        os.chdir(Path(spec["base"], root))
        # Bound to a name of ours first: in a mount's options `:` and `,` of a foreign path would have a meaning.
        _mount(libc, source, "lower", None, MS_BIND | MS_REC, None)
        _forget_earlier(Path("work/work"))
        options = ",".join(["lowerdir=lower", "upperdir=upper", "workdir=work", *spec["options"]])
        _mount(libc, "overlay", "data", "overlay", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
        if not command and spec["uid"] is not None:
            _give(Path("data"), spec["uid"], spec["gid"])
    if not command:
        return
    if spec["uid"] is not None:
        os.setgroups([])
        os.setgid(spec["gid"])
        os.setuid(spec["uid"])
    libc.prctl(PR_SET_PDEATHSIG, spec["death_signal"], 0, 0, 0)  # a change of credentials clears it
    if os.getppid() != parent:
        return  # the guard died before the line above took effect
    os.chdir(Path(spec["base"], spec["roots"][0], "data"))  # the one below the mount was entered before
    os.execv(command[0], command)  # noqa: S606  (no shell is what is wanted)


def _namespace(libc: ctypes.CDLL, *, user: bool) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if user else 0)) != 0:
        _failed("a mount namespace")
    if user:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    _mount(libc, None, "/", None, MS_REC | MS_PRIVATE, None)


def _mount(
    libc: ctypes.CDLL, source: str | None, target: str, kind: str | None, flags: int, options: str | None
) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, options)]
    if libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]) != 0:
        _failed(f"mount {kind or 'bind'}")


def _failed(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")


def _forget_earlier(work: Path) -> None:
    """Remove the mark of an earlier `volatile` mount: it stands for data lost in a crash of the machine."""
    if work.is_dir():
        work.chmod(0o700)  # overlayfs leaves it without any rights
        shutil.rmtree(work / "incompat", ignore_errors=True)  # what stays makes the mount say so


def _give(root: Path, uid: int, gid: int) -> None:
    """Make everything the user's, its contents staying where they are (overlayfs copies the metadata only)."""
    for folder, names, files in os.walk(root):
        for name in ("", *names, *files):
            path = Path(folder, name)
            status = path.lstat()
            if (status.st_uid, status.st_gid) != (uid, gid):
                os.lchown(path, uid, gid)
            wanted = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
            if not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o777 != wanted:
                path.chmod(wanted)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except OSError as error:
        sys.stderr.write(f"copy-on-write is not possible here: {error.strerror or error}\n")
        sys.exit(FAILED)
