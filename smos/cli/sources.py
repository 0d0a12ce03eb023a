"""From command-line words to the typed endpoints that the library wants."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from smos.errors import ProvisionError, TargetError
from smos.provision.base import PostgresEndpoint
from smos.provision.installations import PostgresInstallation, choose_installation
from smos.restore.server import connect

if TYPE_CHECKING:
    from smos.backup.create import VaultAccess

DEFAULT_HOST = "localhost"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def existing_postgres(
    host: str | None, port: int, user: str
) -> tuple[PostgresEndpoint, PostgresInstallation]:
    """Connect to a running PostgreSQL; return its endpoint and client tools of its version, or newer ones.

    The password, where one is needed, comes from ~/.pgpass or PGPASSFILE, never from an argument.
    Raises UnreachableError, AuthenticationError, ProvisionError.
    """
    endpoint = PostgresEndpoint(host=host or DEFAULT_HOST, port=port, superuser=user, version_num=0)
    with connect(endpoint) as connection:
        version = connection.info.server_version
    endpoint = PostgresEndpoint(host=endpoint.host, port=port, superuser=user, version_num=version)
    return endpoint, client_tools(version // 10000)


def client_tools(major: int) -> PostgresInstallation:
    """Return client programs of this major version, else newer ones. Raises ProvisionError.

    Its own where it can be: a newer pg_dump writes what an older server can no longer restore.
    """
    try:
        return choose_installation(major=major)
    except ProvisionError:
        return choose_installation(at_least=major)


def existing_vault(
    address: str,
    approle: Path,
    *,
    ca: Path | None,
    kv_mount: str,
    transit_key: str,
    recipient: str | None,
) -> "VaultAccess":
    """Return the access of the role `backup`; nothing is asked of the server yet.

    approle: file (0600) with its role_id and secret_id. recipient: an age recipient, or a file that holds one; None:
    nothing is encrypted. Raises TargetError, VaultError, BackupError.
    """
    from smos.backup.create import VaultAccess
    from smos.backup.envelope import parse_recipient
    from smos.provision.base import VaultEndpoint
    from smos.vault.escrow import read_credential

    where = urlsplit(address)
    local = where.hostname in LOOPBACK
    if where.scheme not in {"https", "http+unix"} and not (where.scheme == "http" and local):
        raise TargetError(
            f"--vault-address {address}: a login and a data key would cross the network in clear text",
            remedy="use https:// (with --vault-ca for an authority of your own)",
        )
    if recipient is not None and Path(recipient).is_file():
        recipient = Path(recipient).read_text(encoding="utf-8").strip()
    if recipient is not None:
        parse_recipient(recipient)
    return VaultAccess(
        VaultEndpoint(url=address.rstrip("/"), ca=ca),
        read_credential(approle),
        kv_mount,
        transit_key,
        recipient,
    )


def parse_volumes(words: list[str]) -> dict[str, Path]:
    """Turn `NAME=DIRECTORY` words into a mapping. Raises TargetError naming the word that is wrong."""
    volumes = {}
    for word in words:
        name, separator, path = word.partition("=")
        if not separator or not name or not Path(path).is_dir():
            raise TargetError(f"--volume {word}: not NAME=DIRECTORY with a directory that exists")
        volumes[name] = Path(path)
    return volumes
