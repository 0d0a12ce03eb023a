"""Which TCP addresses a process listens on, as the kernel tells it."""

import ipaddress
import re
import socket
import struct
from pathlib import Path

LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp (Linux, include/net/tcp_states.h)."""


def listeners(pid: int, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """Return `address:port` of every TCP socket on which this process listens. Raises OSError."""
    own = set()
    for link in (proc / str(pid) / "fd").iterdir():
        try:
            found = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
        except FileNotFoundError:
            continue  # it was closed while we looked
        if found:
            own.add(found[1])
    addresses = []
    for name in ("tcp", "tcp6"):
        path = proc / str(pid) / "net" / name
        for line in path.read_text(encoding="ascii").splitlines()[1:] if path.is_file() else ():
            _, local, _, state, *rest = line.split()
            if state == LISTEN and rest[5] in own:
                addresses.append(_address(local))
    return tuple(sorted(addresses))


def on_loopback(address: str) -> bool:
    """Tell whether an address of `listeners` can be reached from this machine only."""
    host = ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return (mapped or host).is_loopback


def _address(given: str) -> str:
    """Decode an address of /proc/net/tcp: 32-bit words in the machine's order."""
    text, port = given.split(":")
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    raw = b"".join(struct.pack("=I", word) for word in words)
    if len(raw) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, raw)}:{int(port, 16)}"
    return f"[{socket.inet_ntop(socket.AF_INET6, raw)}]:{int(port, 16)}"
