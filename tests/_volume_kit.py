"""Trees that are hard to archive, hostile tars, and a run as an ordinary user, for the tests of volumes."""

import io
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path
from typing import Any

from smos.backup.volumes import VolumeFacts, VolumeSummary, create_volume_archive, restore_archive
from smos.target import Limits

ROOT = os.geteuid() == 0
CHECKOUT = Path(__file__).resolve().parent.parent
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
NOBODY = 65534


def acl(*named: tuple[int, int]) -> bytes:
    """Return an ACL attribute with rights for named users: (uid, bits)."""
    everyone = 0xFFFFFFFF
    entries = [(1, 6, everyone), *((2, bits, uid) for uid, bits in named), (4, 4, everyone)]
    entries += [(0x10, 4, everyone), (0x20, 0, everyone)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def keeps(path: Path, name: str, value: bytes) -> bool:
    """Set an extended attribute; tell whether this file system and this user keep it."""
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError:
        return False
    return True


def deepen(top: Path, levels: int) -> None:
    """Nest directories with names of 200 bytes, a file in the last one; `top` is made."""
    top.mkdir()
    handle = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 200, dir_fd=handle)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


def nasty_tree(root: Path) -> dict[str, bool]:
    """Build what real volumes hold; return which attributes the file system kept here."""
    root.mkdir(parents=True)
    raw = os.fsencode(root)
    (root / "plain").write_bytes(b"content\n" * 100)
    (root / "empty").write_bytes(b"")
    for name in (
        b"not utf-8 \xff\xfe",
        b"line\nbreak",
        b"-rf *",
        b" blank ",
        b"n\xcc\x83",
        b"\xc3\xb1",
        b"a=b%c",
    ):
        with Path(os.fsdecode(raw + b"/" + name)).open("wb") as file:
            file.write(b"unfriendly name " + name)
    (root / ("x" * 255)).write_bytes(b"long name")
    deepen(root / "deep", 12)  # 2,400 bytes: far beyond any field of a tar header
    (root / "hard1").write_bytes(b"linked")
    (root / "sub").mkdir()
    os.link(root / "hard1", root / "sub" / "hard2")
    os.link(root / "hard1", root / "zz")
    (root / "link").symlink_to("plain")
    (root / "outward").symlink_to("/data/elsewhere")
    (root / os.fsdecode(b"link \xfe")).symlink_to(os.fsdecode(b"dangling \xff"))
    os.mkfifo(root / "fifo", 0o640)
    with (root / "sparse").open("wb") as file:
        file.truncate(8 << 20)
        file.seek(1 << 20)
        file.write(b"middle" * 1000)
        file.seek((8 << 20) - 3)
        file.write(b"end")
    with (root / "only a hole").open("wb") as file:
        file.truncate(3 << 20)
    with (root / "large").open("wb") as file:
        file.write(random.Random(1).randbytes(5 << 18))  # noqa: S311  (content that does not compress)
    (root / "setuid").write_bytes(b"#!")
    (root / "setuid").chmod(0o6755)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o3777)
    (root / "closed").mkdir()
    (root / "closed" / "inside").write_bytes(b"secret")
    (root / "closed" / "inside").chmod(0o400)
    kept = {
        "user.text": keeps(root / "plain", "user.text", "señal".encode()),
        "user.binary": keeps(root / "empty", "user.a=%", bytes(range(256)) * 2),
        "directory": keeps(root / "sub", "user.dir", b""),
        "security.capability": keeps(root / "setuid", "security.capability", CAPABILITY),
        "access acl": keeps(root / "hard1", "system.posix_acl_access", acl((1234, 4))),
        "default acl": keeps(root / "sub", "system.posix_acl_default", acl((1234, 6))),
        "on a link": keeps(root / "link", "trusted.x", b"1"),
    }
    os.utime(root / "plain", ns=(0, 1_234_567_890_123_456_789))
    os.utime(root / "empty", ns=(0, -1_500_000_000))
    os.utime(root / "link", ns=(0, 1_000_000_007), follow_symlinks=False)
    if ROOT:
        for name in ("plain", "sub", "fifo", "link", "."):
            os.chown(root / name, 1000, 101, follow_symlinks=False)
        os.chown(root / "large", 3_000_000_000, 2_999_999_999)  # beyond the octal field
    (root / "closed").chmod(0o500)
    root.chmod(0o2750)
    return kept


def add_socket(root: Path) -> None:
    """Leave a socket in a tree, as a server that was killed does."""
    here = Path.cwd()
    os.chdir(root)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("server.sock")
    finally:
        os.chdir(here)


def make_archive(root: Path, folder: Path, name: str = "vol") -> tuple[Path, Path, VolumeSummary]:
    """Archive a tree; return the archive, its list, and the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    archive, entries = folder / f"{name}.tar.zst", folder / f"{name}.jsonl.zst"
    return archive, entries, create_volume_archive(root, name, archive, entries)


def restore_one(
    archive: Path,
    destination: Path,
    *,
    entries: Path | None = None,
    limits: Limits | None = None,
    name: str = "vol",
) -> VolumeFacts:
    """Restore an archive with one volume and compare."""
    lists = {name: entries} if entries else {}
    (facts,) = restore_archive(
        archive, destination, volumes=(name,), limits=limits or Limits(), entries=lists
    )
    return facts


def codes(facts: VolumeFacts) -> set[str]:
    """Return the codes of a volume's problems."""
    return {problem.code for problem in facts.problems}


def kinds(facts: VolumeFacts) -> set[str]:
    """Return the kinds of a volume's differences, without the times."""
    return {difference.kind.value for difference in facts.differences} - {"mtime"}


def hostile_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """Write a tar with exactly these members."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    """Return a member for `hostile_tar`."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o755
    return info, content


def run_as_nobody(code: str, *arguments: object) -> dict[str, Any]:
    """Run Python as an ordinary user and return the JSON that it prints (as this user where it is one already).

    The interpreter and the checkout may lie where that user can't go: everything is imported before.
    """
    preamble = """
        import json, os, sys
        from pathlib import Path
        from pydantic import TypeAdapter
        import _volume_kit as kit
        from smos.backup import volumes
        from smos.backup.volumes import *
        from smos.errors import BackupError
        from smos.target import Limits
        TypeAdapter(VolumeFacts).dump_python
        if os.geteuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        os.chdir("/")
    """
    script = textwrap.dedent(preamble) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
