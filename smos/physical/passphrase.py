"""The passphrase of an encrypted repository: read from a private file, never shown, and told apart from a wrong one.

It reaches the tool in a configuration file in an owned directory: not in arguments (everybody sees them), not in the
environment (children inherit it).
"""

import os
import stat
from pathlib import Path

from pydantic import SecretStr

from smos.paths import read_part, require_regular
from smos.verdict import Problem

LONGEST = 4096
MAGIC = b"Salted__"
"""How OpenSSL, and so pgBackRest, begins what it encrypted."""


def read_passphrase(path: Path | None) -> tuple[SecretStr | None, tuple[Problem, ...]]:
    """Return the passphrase of a file's only line, and what is wrong. Codes: passphrase-missing, passphrase-exposed.

    A file that others may read is used all the same: what it opens can still be proven.
    """
    if path is None:
        return None, ()
    try:
        require_regular(path)
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(LONGEST + 1)
        text = data.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        return None, (Problem("passphrase-missing", f"{path} can't be read: {error.strerror}"),)
    except UnicodeDecodeError:
        return None, (Problem("passphrase-missing", f"{path} holds no text"),)
    if not text.strip() or len(data) > LONGEST or any(ord(letter) < 32 for letter in text):
        return None, (Problem("passphrase-missing", f"{path} does not hold one line of text"),)
    if mode & 0o077:
        return SecretStr(text), (
            Problem("passphrase-exposed", f"{path} is open to others (mode {mode:04o})"),
        )
    return SecretStr(text), ()


def encrypted(path: Path) -> bool:
    """Tell whether a file begins as OpenSSL's do; False where it can't be read."""
    try:
        return read_part(path, len(MAGIC)) == MAGIC
    except OSError:
        return False
