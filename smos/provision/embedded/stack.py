"""The server configuration that the compose stack ships, for a server on loopback: only places are exchanged.

So what the suite proves of hardening, it proves of the file that users run.
"""

from pathlib import Path

from smos.errors import ProvisionError
from smos.paths import compose_dir

CONFIG = "vault-config.hcl"


def stack_text(name: str = CONFIG) -> str:
    """Return the text of a configuration of compose/vault. Raises ProvisionError."""
    path = compose_dir() / "vault" / name
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProvisionError(f"The stack's configuration {path} can't be read: {error.strerror}") from error


def rendered(text: str, *, address: str, data: Path, certificate: Path, key: Path) -> str:
    """Return the text for a server at `address` with these places.

    Raises ProvisionError where the text does not name a place of the container that must be exchanged.
    """
    places = {
        '"/vault/data"': f'"{data}"',
        '"0.0.0.0:8200"': f'"{address}"',
        '"127.0.0.1:8201"': '"127.0.0.1:0"',
        '"https://127.0.0.1:8200"': f'"https://{address}"',
        '"/vault/tls/server.pem"': f'"{certificate}"',
        '"/vault/tls/server.key"': f'"{key}"',
    }
    for old, new in places.items():
        if old not in text:
            raise ProvisionError(
                f"The stack's configuration does not name {old}",
                remedy="compare it with compose/vault/vault-config.hcl of this version",
            )
        text = text.replace(old, new)
    return text
