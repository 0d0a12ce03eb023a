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


def vault_endpoint(config: Config) -> VaultEndpoint:
    """Return where Vault is."""
    ca = config.value("vault.ca_file")
    url = str(config.value("vault.address")).rstrip("/")
    return VaultEndpoint(url=url, ca=Path(ca).expanduser() if ca else None)


def vault_of(config: Config) -> VaultAccess:
    """Return how Vault is reached, and as whom. Raises AuthenticationError when there is no token."""
    token = config.value("vault.token")
    if not token:
        raise AuthenticationError(
            "There is no token for Vault",
            remedy="smos config set vault.token   (or VAULT_TOKEN in the environment)",
        )
    return VaultAccess(vault_endpoint(config), str(token))
