"""From the configuration to the servers it names."""

from dataclasses import dataclass
from pathlib import Path

from smos.config.store import Config
from smos.errors import AuthenticationError
from smos.provision.base import VaultEndpoint


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """Where Vault is and who we are to it."""

    endpoint: VaultEndpoint
    token: str


def vault_of(config: Config) -> VaultAccess:
    """Return how Vault is reached. Raises AuthenticationError when there is no token."""
    ca = config.value("vault.ca_file")
    token = config.value("vault.token")
    if not token:
        raise AuthenticationError(
            "There is no token for Vault",
            remedy="smos config set vault.token   (or VAULT_TOKEN in the environment)",
        )
    return VaultAccess(
        VaultEndpoint(
            url=str(config.value("vault.address")).rstrip("/"), ca=Path(ca).expanduser() if ca else None
        ),
        str(token),
    )
