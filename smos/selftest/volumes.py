"""Volumes of the built-in source, with what real volumes hold: odd owners and modes, links, xattrs, holes."""

import hashlib
import os
import stat
from pathlib import Path

ODD_UID, ODD_GID = 1000, 1000
"""n8n's image runs as 1000:1000, Odoo's as 101:101: owners that the host's passwd file does not know."""


def build_volumes(base: Path) -> dict[str, Path]:
    """Create the three volumes below `base` and return their roots by name.

    Owners are set where the process may (root); the tree is otherwise the same for everybody.
    """
    roots = {name: base / name for name in ("n8n_data", "odoo-web-data", "chatwoot-data")}
    for root in roots.values():
        root.mkdir(parents=True)
    _n8n(roots["n8n_data"])
    _odoo(roots["odoo-web-data"])
    _chatwoot(roots["chatwoot-data"])
    return roots


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _own(path: Path, uid: int, gid: int) -> None:
    if os.geteuid() == 0:
        os.chown(path, uid, gid, follow_symlinks=False)


def _xattr(path: Path, name: str, value: bytes) -> None:
    if hasattr(os, "setxattr"):
        try:
            os.setxattr(path, name, value)
        except OSError as error:
            if error.errno not in {95, 1, 13}:  # ENOTSUP, EPERM, EACCES: this file system keeps none
                raise


def _n8n(root: Path) -> None:
    _write(root / "config", b'{"encryptionKey": "self-test only"}', 0o600)
    _write(root / "binaryData" / "ejecución 1" / "archivo ñ.bin", bytes(range(256)) * 64)
    _write(root / "nodes" / "package.json", b'{"name": "installed-nodes"}')
    (root / "git").symlink_to("nodes")
    for path in (root, *root.rglob("*")):
        _own(path, ODD_UID, ODD_GID)
    root.chmod(0o750)


def _odoo(root: Path) -> None:
    store = root / "filestore" / "odoo"
    for number in range(60):
        data = f"documento {number}\n".encode() * (number + 1)
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()  # Odoo names its files so
        _write(store / digest[:2] / digest, data, 0o640)
    first = next(path for path in sorted(store.rglob("*")) if path.is_file())
    os.link(first, root / "hard-link-to-a-document")
    sparse = root / "sessions" / "sparse.db"
    _write(sparse, b"start")
    with sparse.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"end")
    (root / "sessions").chmod(0o2770 | stat.S_ISVTX)
    _write(root / "addons" / "run.sh", b"#!/bin/sh\n", 0o755)
    _xattr(root / "addons" / "run.sh", "user.smarteros", b"firmado")
    os.mkfifo(root / "sessions" / "queue", 0o600)
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            _own(path, 101, 101)


def _chatwoot(root: Path) -> None:
    for number in range(1, 31):  # the rows of compose/selftest/chatwoot.sql name these files
        _write(root / "storage" / f"adjunto-{number:03}.txt", f"contenido del adjunto {number}".encode())
    (root / "storage" / "latest").symlink_to("adjunto-030.txt")
    (root / "empty directory").mkdir(mode=0o700)
    _write(root / "-rf *", b"an unfriendly name")
    _write(root / "line\nbreak", b"another one")
