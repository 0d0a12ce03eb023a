"""Empty clusters in a twentieth of a second: one `initdb` per kind is kept, later clusters are copies of it.

Measured on two cores: initdb 0.31 s, a copy 0.07 s. A copy would have the template's system identifier, by
which a drill recognises the source, so every copy gets one of its own: written into `global/pg_control`,
whose checksum is computed anew, and then into the write-ahead log by PostgreSQL's own `pg_resetwal`.
"""

import os
import secrets
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from smos.errors import ProvisionError
from smos.provision.cache import CacheError, cached, listing
from smos.provision.installations import PostgresInstallation
from smos.provision.owner import Owner

COPY_S = 120
"""Seconds that copying or resetting an empty cluster may take."""
IDENTIFIER = struct.Struct("=Q")
CHECKSUM = struct.Struct("=I")
LONGEST_CONTROL_DATA = 512
"""Bytes; PostgreSQL promises that the data fit in one disk sector (PG_CONTROL_MAX_SAFE_SIZE)."""
CASTAGNOLI = 0x82F63B78
KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 24), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}
"""For cp, which takes a buffer for each file and gives it back: a third of its processor time (glibc, mallopt(3))."""


def clone(
    owner: Owner,
    installation: PostgresInstallation,
    data_dir: Path,
    kind: str,
    initdb: Callable[[Path], None],
) -> None:
    """Fill the empty `data_dir` with a new cluster of this `kind` (all that initdb was told, as one string).

    `initdb` makes a cluster in the directory it is given. Raises ProvisionError.
    """

    def make(content: Path) -> None:
        fresh = owner.directory("template")
        initdb(fresh)
        for segment in (fresh / "pg_wal").iterdir():
            if segment.is_file():  # pg_resetwal writes a new one
                segment.unlink()
        shutil.copytree(fresh, content, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for path in content.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)

    programs = [installation.tool(name) for name in ("initdb", "postgres")]
    key = repr((kind, [(str(path), listing(path)) for path in programs]))
    try:
        template = cached(f"cluster-{installation.version}", key, make)
    except CacheError:  # it only saves time
        initdb(data_dir)
        return
    owner.run(["/bin/cp", "-R", f"{template}/.", data_dir], timeout_s=COPY_S, env=KEEPS_MEMORY)
    renew_identifier(data_dir / "global" / "pg_control")
    owner.run([installation.tool("pg_resetwal"), "--pgdata", data_dir], timeout_s=COPY_S)


def renew_identifier(control: Path) -> int:
    """Give the control file another system identifier and return it.

    The identifier is the first field; the CRC-32C is the last, over everything before it. Where that is
    depends on the version and is found by the checksum itself. Source: src/include/catalog/pg_control.h.
    Raises ProvisionError when the file has no valid checksum.
    """
    handle = os.open(control, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        data = os.pread(handle, LONGEST_CONTROL_DATA, 0)
        end = _checksum_position(data)
        if end is None:
            raise ProvisionError(
                f"{control} has no valid checksum", remedy="remove the cache directory of smos"
            )
        # The high half is the second in which initdb ran (xlog.c, BootStrapXLOG), the low half tells
        # copies apart.
        identifier = (IDENTIFIER.unpack_from(data)[0] & ~0xFFFFFFFF) | secrets.randbits(32)
        body = IDENTIFIER.pack(identifier) + data[IDENTIFIER.size : end]
        os.pwrite(handle, body + CHECKSUM.pack(crc32c(body)), 0)
    finally:
        os.close(handle)
    return int(identifier)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of a short piece of data. Source: RFC 3720, appendix B.4."""
    return _advance(0xFFFFFFFF, data) ^ 0xFFFFFFFF


def _checksum_position(data: bytes) -> int | None:
    state = 0xFFFFFFFF
    for position in range(0, len(data) - CHECKSUM.size, CHECKSUM.size):
        if position and state ^ 0xFFFFFFFF == CHECKSUM.unpack_from(data, position)[0]:
            return position
        state = _advance(state, data[position : position + CHECKSUM.size])
    return None


def _advance(state: int, data: bytes) -> int:
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (CASTAGNOLI if state & 1 else 0)
    return state
