"""Mount overlays where nobody else sees them, become an ordinary user again, and execute a program.

Started as `python -I -S enter.py BASE NAMESPACE UID GID SIGNAL OPTIONS SOURCE … -- PROGRAM …`. The mounts live in a
mount namespace of this process alone (as root directly, else inside a user namespace of its own): they end with the
last process in it, however that dies, so nobody has to unmount anything. Without a program it tries the mounts, gives
what is in them to the user, and ends: that is how it is found out whether a system allows them.

BASE: holds a directory `0`, `1`, … for each SOURCE, with `lower`, `upper`, `work` and `data` in it. NAMESPACE: `user`
or `mount`. UID, GID: whom to become, `-`: stay. SIGNAL: sent when the parent dies. OPTIONS: of overlayfs.

Only modules that load quickly: this stands between a backup and its first answer.
"""
# pathlib takes longer to load than everything else here.
# ruff: noqa: PTH101, PTH106, PTH108, PTH112, PTH123

import ctypes
import os
import stat
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
FAILED = 125
"""Exit code when the mounts are refused; PostgreSQL never ends with it."""


def main(words: list[str]) -> None:
    """Do it; return only without a program. Raises OSError where the system refuses."""
    base, namespace, uid, gid, death_signal, options = words[:6]
    end = words.index("--")
    sources, command = words[6:end], words[end + 1 :]
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    _namespace(libc, user=namespace == "user")
    for number, source in enumerate(sources):
        os.chdir(f"{base}/{number}")
        # Bound to a name of ours first: in a mount's options `:` and `,` of a foreign path would have a meaning.
        _mount(libc, source, "lower", None, MS_BIND | MS_REC, None)
        _forget_earlier("work/work")
        layers = f"lowerdir=lower,upperdir=upper,workdir=work,{options}"
        _mount(libc, "overlay", "data", "overlay", MS_NOSUID | MS_NODEV | MS_NOEXEC, layers)
        if not command and uid != "-":
            _give("data", int(uid), int(gid))
    if not command:
        return
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)  # a change of credentials clears it
    if os.getppid() != parent:
        return  # the guard died before the line above took effect
    os.chdir(f"{base}/0/data")  # the one below the mount was entered before
    os.execv(command[0], command)  # noqa: S606  (no shell is what is wanted)


def _namespace(libc: ctypes.CDLL, *, user: bool) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if user else 0)) != 0:
        _failed("a mount namespace")
    if user:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
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


def _forget_earlier(work: str) -> None:
    """Remove the mark of an earlier `volatile` mount: it stands for data lost in a crash of the machine."""
    if not os.path.isdir(work):
        return
    os.chmod(work, 0o700)  # overlayfs leaves it without any rights
    for folder, names, files in os.walk(f"{work}/incompat", topdown=False):
        for name in files:
            os.unlink(f"{folder}/{name}")
        for name in names:
            os.rmdir(f"{folder}/{name}")


def _give(root: str, uid: int, gid: int) -> None:
    """Make everything the user's, its contents staying where they are (overlayfs copies the metadata only)."""
    for folder, names, files in os.walk(root):
        for name in ("", *names, *files):
            path = f"{folder}/{name}"
            status = os.lstat(path)
            if (status.st_uid, status.st_gid) != (uid, gid):
                os.lchown(path, uid, gid)
            wanted = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
            if not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o777 != wanted:
                os.chmod(path, wanted)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.stderr.write(f"copy-on-write is not possible here: {error.strerror or error}\n")
        sys.exit(FAILED)
