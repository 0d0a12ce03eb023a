"""What the kernel says of a process' network: through which devices anything leads out of it."""

from pathlib import Path

LOOPBACK = "lo"
_TABLES = (("route", 0, 1), ("ipv6_route", -1, 0))
"""Table below /proc/PID/net, the column with the device, lines of its heading."""


def ways_out(pid: int) -> tuple[str, ...] | None:
    """Return the devices for which a route is known where this process lives, but for loopback; sorted.

    Devices alone say nothing: tunnels that nobody set up are in every network namespace of some machines. None: it has
    ended, or the system tells nothing (macOS).
    """
    found: set[str] = set()
    for name, column, heading in _TABLES:
        try:
            text = Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii")
        except FileNotFoundError:
            if name == "ipv6_route" and Path(f"/proc/{pid}/net/route").is_file():
                continue  # a kernel without IPv6
            return None
        except (OSError, ValueError):
            return None
        found |= {line.split()[column] for line in text.splitlines()[heading:] if line.split()}
    return tuple(sorted(found - {LOOPBACK}))
