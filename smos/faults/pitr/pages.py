"""Data pages and manifests, damaged so that checksums agree: what only content can give away."""

import hashlib
import json
import os
import struct
from pathlib import Path

PAGE = 8192
_LANES = 32
_PRIME = 16777619
_MASK = 0xFFFFFFFF
_BASES = (
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
)  # fmt: skip
"""Source of algorithm and constants: src/include/storage/checksum_impl.h."""
_CHECKSUM_AT = 8
_HASHES = {"SHA224": "sha224", "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512"}


def page_checksum(page: bytes, block: int) -> int:
    """Return the checksum of a data page that is the file's block number `block`."""
    clean = page[:_CHECKSUM_AT] + b"\0\0" + page[_CHECKSUM_AT + 2 :]
    words = struct.unpack(f"={PAGE // 4}I", clean)
    sums = list(_BASES)
    for start in range(0, len(words), _LANES):
        for lane in range(_LANES):
            sums[lane] = _mix(sums[lane], words[start + lane])
    for _ in range(2):
        sums = [_mix(value, 0) for value in sums]
    result = 0
    for value in sums:
        result ^= value
    return (result ^ block) % 65535 + 1


def _mix(value: int, word: int) -> int:
    mixed = value ^ word
    return (mixed * _PRIME & _MASK) ^ (mixed >> 17)


def with_checksum(page: bytes, block: int) -> bytes:
    """Return the page with its checksum made to fit."""
    return page[:_CHECKSUM_AT] + struct.pack("=H", page_checksum(page, block)) + page[_CHECKSUM_AT + 2 :]


def rehash(backup: Path, original: Path) -> None:
    """Make a plain backup's manifest fit its files again: sizes, checksums, what is there and what is not.

    original: what it is a copy of; a file of the same size and time is taken to be as it was.
    """
    path = backup / "backup_manifest"
    data = json.loads(path.read_bytes())
    there, before = _files(backup), _files(original)
    names = {item["Path"] for item in data["Files"]}
    entries = [item for item in data["Files"] if item["Path"] in there]
    changed = [item for item in entries if there[item["Path"]] != before.get(item["Path"])]
    added = [
        {"Path": name, "Size": 0, "Last-Modified": "2026-01-01 00:00:00 GMT", "Checksum-Algorithm": "SHA256"}
        for name in sorted(there.keys() - names)
    ]
    for item in [*changed, *added]:
        content = (backup / item["Path"]).read_bytes()
        item["Size"] = len(content)
        item["Checksum"] = hashlib.new(_HASHES[item["Checksum-Algorithm"]], content).hexdigest()
    data["Files"] = [*entries, *added]
    data.pop("Manifest-Checksum")
    text = json.dumps(data)[:-1] + ",\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(f'{text}"Manifest-Checksum": "{digest}"}}\n')


def _files(backup: Path) -> dict[str, tuple[int, int]]:
    """Return size and time (ns) of the files of a manifest, by their path; links of tablespaces are followed."""
    found = {}
    waiting = ["", *(f"pg_tblspc/{link.name}/" for link in (backup / "pg_tblspc").iterdir())]
    while waiting:
        below = waiting.pop()
        with os.scandir(backup / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if name in {"pg_wal", "backup_manifest"}:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif entry.is_file():
                    status = entry.stat()
                    found[name] = (status.st_size, status.st_mtime_ns)
    return found
