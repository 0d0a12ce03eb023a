"""Lets `pytest --backups DIR` mean what it says, for directories outside of the checkout.

pytest looks for its configuration before it knows the options of a conftest.py. `--backups /backups` (two words, and
the directory exists) then looks like a path to collect tests from: pytest would take /backups for its root, read
neither our configuration nor our conftest.py, and refuse the option. Written as one word, `--backups=/backups`, it
is understood. So this plugin (loaded by its entry point, hence before any conftest.py; it needs no import of pytest)
starts the same command again with such pairs joined. Source: pytest's documentation, "Finding the rootdir".
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

OPTIONS = ("--target", "--backups", "--reports", "--waivers")
PROGRAMS = ("pytest", "py.test", "__main__.py")


def joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--option VALUE` of ours written as `--option=VALUE`."""
    result: list[str] = []
    words = iter(arguments)
    for word in words:
        value = next(words, None) if word in OPTIONS else None
        result.append(word if value is None else f"{word}={value}")
    return result


def pytest_addoption() -> None:
    """Start again with joined options: this hook is called before pytest takes standard output for itself."""
    here = Path(__file__).resolve().parent.parent
    ours = (here / "conftest.py").is_file() and Path.cwd().is_relative_to(here)
    again = joined(sys.argv[1:])
    if ours and Path(sys.argv[0]).name in PROGRAMS and again != sys.argv[1:]:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *again])  # noqa: S606  (the same command again)
