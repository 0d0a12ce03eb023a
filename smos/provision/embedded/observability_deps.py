"""Makes ready what the observability suite runs with, so that no test waits for it: `make observability-deps`.

What can't be had is said and does not stop the rest: without Go there is no real collector (rotel takes its
place, and proves less) and no Alertmanager.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from smos.errors import SmosError
from smos.provision.embedded.bugsink import prepare as prepare_bugsink
from smos.provision.embedded.debian import fetch_program
from smos.provision.embedded.otelcol_build import build_collector
from smos.provision.embedded.prometheus import build_alertmanager

PARTS: dict[str, Callable[[], Path]] = {
    "collector": build_collector,
    "alertmanager": build_alertmanager,
    "prometheus": lambda: fetch_program("prometheus", ("prometheus",)),
    "bugsink": prepare_bugsink,
}


def main(names: list[str]) -> int:
    """Make these parts ready (default: all) and say where each is and how long it took; 1 if one is missing."""
    missing = 0
    for name in names or PARTS:
        started = time.monotonic()
        try:
            place = PARTS[name]()
        except SmosError as error:
            missing = 1
            sys.stderr.write(f"{name}: MISSING. {error}\n")
            continue
        sys.stdout.write(f"{name}: {place} ({time.monotonic() - started:.1f} s)\n")
    return missing


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
