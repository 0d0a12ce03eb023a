"""The data keys of encrypted backups: made and wrapped by Vault's transit engine, unwrapped by the recovered one.

`backup` may ask for new ones and can't open old ones; `recovery` may open them. Neither a plaintext key nor a token
is ever written, logged or put into an argument.
"""

import re

import hvac

from smos.backup.envelope import KEY_BYTES, DataKey
from smos.backup.manifest import Encryption
from smos.errors import BackupError
from smos.vault.bootstrap import login
from smos.vault.escrow import AppRoleCredential
from smos.vault.model import CLIENT_ERRORS, TRANSIT_MOUNT, VaultEndpoint, VaultError, explain, opened

KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")


def new_data_key(
    endpoint: VaultEndpoint, credential: AppRoleCredential, transit_key: str
) -> tuple[DataKey, str]:
    """Let Vault make a data key; return it and its wrapped form (`vault:v1:…`). Raises BackupError."""
    _check_name(transit_key)
    try:
        with opened(endpoint) as client:
            login(client, credential)
            data = client.secrets.transit.generate_data_key(
                transit_key, key_type="plaintext", bits=8 * KEY_BYTES, mount_point=TRANSIT_MOUNT
            )["data"]
    except CLIENT_ERRORS as error:
        raise BackupError(
            f"Vault made no data key, so nothing can be encrypted: {explain(error)}",
            remedy="is Vault unsealed, and may the role `backup` use"
            f" transit/datakey/plaintext/{transit_key} (compose/vault/policies/backup.hcl)?",
        ) from None
    return DataKey.from_base64(data["plaintext"]), str(data["ciphertext"])


def unwrap_data_key(
    endpoint: VaultEndpoint, credential: AppRoleCredential, transit_key: str, encryption: Encryption
) -> DataKey:
    """Let a recovered Vault open the wrapped key of a set.

    Raises VaultError: `data-key-refused` (this Vault, which answers, does not open it), `data-key-forbidden` (the
    login is refused) or `data-key-not-asked` (nobody answered).
    """
    _check_name(transit_key)
    if encryption.transit_key != transit_key:
        raise VaultError(
            f"it was wrapped by the transit key {encryption.transit_key}, the target declares {transit_key}",
            code="data-key-refused",
        )
    try:
        with opened(endpoint) as client:
            login(client, credential)
            answer = client.secrets.transit.decrypt_data(
                transit_key, ciphertext=encryption.wrapped_key, mount_point=TRANSIT_MOUNT
            )
    except hvac.exceptions.Forbidden as error:
        raise VaultError(explain(error), code="data-key-forbidden") from None
    except (hvac.exceptions.InvalidRequest, hvac.exceptions.InvalidPath) as error:
        raise VaultError(explain(error), code="data-key-refused") from None
    except CLIENT_ERRORS as error:
        raise VaultError(explain(error), code="data-key-not-asked") from None
    try:
        return DataKey.from_base64(answer["data"]["plaintext"])
    except BackupError as error:
        raise VaultError(error.message, code="data-key-refused") from None


def _check_name(transit_key: str) -> None:
    if not KEY_NAME.fullmatch(transit_key):
        raise VaultError(f"{transit_key!r} is no name of a transit key", code="data-key-refused")
