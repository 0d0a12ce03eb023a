"""F16, further: sets that are encrypted, and whose envelope was changed, exchanged, or can no longer be opened."""

import hashlib

import hvac
import pyrage

from smos.backup.envelope import SUFFIX
from smos.backup.manifest import Plain
from smos.faults.dr.backups import noise
from smos.faults.dr.workspace import Workspace
from smos.faults.registry import Variant, caught, fault
from smos.verdict import Verdict

NOT_PROVEN = Verdict.NOT_PROVEN
REHASHED = Variant.REHASHED
KEY = "smarteros-secrets"
ODOO, N8N = "volumes/odoo-web-data.tar.zst.age", "volumes/n8n_data.tar.zst.age"
CHUNK_BYTES = 65536 + 16
"""A chunk of an age file: 64 KiB and a tag."""


def payload_start(data: bytes) -> int:
    """Return where the chunks of an age file begin: after the header's last line and a nonce of 16 bytes."""
    return data.index(b"\n", data.index(b"\n--- ") + 1) + 1 + 16


def enlarge(work: Workspace) -> bytes:
    """Put an artifact of several chunks into the place of a volume before the set is encrypted; return its name."""
    path = work.path(ODOO.removesuffix(SUFFIX))
    work.replace(path, path.read_bytes() + noise(4 * CHUNK_BYTES))
    work.encrypt()
    return work.path(ODOO).read_bytes()


@fault(
    "F16c",
    "One artifact of an encrypted set lies there in plain text",
    "encryption",
    caught("DR-02", "not-encrypted", ODOO),
    caught("DR-02", "not-encrypted", ODOO, variant=REHASHED),
)
def one_in_plain(work: Workspace) -> None:
    """Let one step of the job skip the encryption."""
    plain = work.path(ODOO.removesuffix(SUFFIX)).read_bytes()
    work.encrypt()
    work.replace(work.path(ODOO), plain)


@fault(
    "F16d",
    "An artifact is encrypted without authentication, by another tool",
    "encryption",
    caught("DR-02", "encryption-differs", ODOO, variant=REHASHED),
)
def unauthenticated(work: Workspace) -> None:
    """Put what `openssl enc` writes into its place."""
    work.encrypt()
    work.replace(work.path(ODOO), b"Salted__" + noise(4096))


@fault(
    "F16e",
    "An artifact is encrypted to another key than its set's",
    "encryption",
    caught("DR-02", "decryption-failed", ODOO, variant=REHASHED),
)
def wrong_key(work: Workspace) -> None:
    """Encrypt it to a key that nobody escrowed."""
    plain = work.path(ODOO.removesuffix(SUFFIX)).read_bytes()
    work.encrypt()
    stranger = pyrage.x25519.Identity.generate().to_public()
    work.replace(work.path(ODOO), pyrage.encrypt(plain, [stranger]))


@fault(
    "F16f",
    "The manifest carries the wrapped key of another set",
    "encryption",
    caught("DR-02", "decryption-failed", "No matching keys"),
)
def key_of_another_set(work: Workspace) -> None:
    """Exchange two wrapped keys of the same Vault; the manifest is signed with the real key."""
    work.encrypt()
    other = work.vaultshop.data_key(KEY)[1]
    rewrap(work, other)


@fault(
    "F16g",
    "The wrapped key in the manifest was replaced",
    "encryption",
    caught("DR-02", "data-key-undecryptable", "data key of"),
)
def key_replaced(work: Workspace) -> None:
    """Write a wrapped key that no Vault made."""
    work.encrypt()
    rewrap(work, "vault:v1:" + "QUFB" * 24)


def rewrap(work: Workspace, wrapped: str) -> None:
    """Give the newest set another wrapped key, and sign the manifest."""
    encryption = work.manifest().encryption
    if encryption is None:
        raise ValueError("the set is not encrypted")
    work.rewrite(encryption=encryption.model_copy(update={"wrapped_key": wrapped}))


@fault(
    "F16h",
    "An encrypted artifact is cut at the end of a chunk",
    "encryption",
    caught("DR-02", "decryption-failed", "truncated", variant=REHASHED),
)
def cut_between_chunks(work: Workspace) -> None:
    """Leave whole, authentic chunks, and too few of them."""
    data = enlarge(work)
    work.replace(work.path(ODOO), data[: payload_start(data) + 2 * CHUNK_BYTES])


@fault(
    "F16i",
    "Two chunks of an encrypted artifact changed places",
    "encryption",
    caught("DR-02", "decryption-failed", ODOO, variant=REHASHED),
)
def chunks_reordered(work: Workspace) -> None:
    """Exchange the first two chunks; each of them is authentic."""
    data = enlarge(work)
    start = payload_start(data)
    first, second = data[start : start + CHUNK_BYTES], data[start + CHUNK_BYTES : start + 2 * CHUNK_BYTES]
    work.replace(work.path(ODOO), data[:start] + second + first + data[start + 2 * CHUNK_BYTES :])


@fault(
    "F16j",
    "Two artifacts of an encrypted set changed places, in the manifest as well",
    "encryption",
    caught("DR-02", "plaintext-differs", ODOO),
)
def artifacts_swapped(work: Workspace) -> None:
    """Exchange two volumes with all that the manifest says of them; they are of one set and open with its key."""
    work.encrypt()
    odoo, n8n = work.path(ODOO).read_bytes(), work.path(N8N).read_bytes()
    work.replace(work.path(ODOO), n8n)
    work.replace(work.path(N8N), odoo)
    names = {ODOO: N8N, N8N: ODOO}
    artifacts = work.manifest().artifacts
    work.rewrite(
        artifacts=tuple(
            item.model_copy(update={"path": names.get(item.path, item.path)}) for item in artifacts
        )
    )


@fault(
    "F16k",
    "The transit key's version that wrapped a set's key is shut off",
    "encryption",
    caught("DR-02", "data-key-undecryptable", "data key of"),
    caught("DR-03", "backup-not-decrypted", "does not unwrap", verdict=NOT_PROVEN),
    caught("DR-04", "backup-not-decrypted", "does not unwrap", verdict=NOT_PROVEN),
)
def version_shut_off(work: Workspace) -> None:
    """Rotate, and raise min_decryption_version above the version of a backup that is kept."""

    def damage(root: hvac.Client) -> None:
        root.secrets.transit.rotate_key(KEY)
        root.secrets.transit.update_key_configuration(KEY, min_decryption_version=2)

    work.encrypt(damage)


@fault(
    "F16l",
    "The escrow lost the identity that opens Vault's snapshot",
    "escrow",
    caught("DR-02", "encrypted-not-read", "did not come back", verdict=NOT_PROVEN),
    caught("DR-03", "backup-not-decrypted", "did not come back", verdict=NOT_PROVEN),
    caught("DR-04", "backup-not-decrypted", "did not come back", verdict=NOT_PROVEN),
    caught("DR-06", "vault-snapshot-key-lost", "holds no backup identity"),
)
def identity_lost(work: Workspace) -> None:
    """Keep key shares and credentials, and forget the identity."""
    work.encrypt()
    work.whole_drill = True
    work.edit_shop_escrow(lambda data: data | {"backup_identity": None})


@fault(
    "F16m",
    "Vault, which wraps the key of the backups, does not come back",
    "escrow",
    caught("DR-02", "encrypted-not-read", "did not come back", verdict=NOT_PROVEN),
    caught("DR-03", "backup-not-decrypted", "did not come back", verdict=NOT_PROVEN),
    caught("DR-04", "backup-not-decrypted", "did not come back", verdict=NOT_PROVEN),
    caught("DR-05", "service-unhealthy", "smarter-vault"),
    caught("DR-06", "vault-still-sealed", "key shares"),
    caught("DR-07", "rto-not-measured", verdict=NOT_PROVEN),
)
def vault_stays_sealed(work: Workspace) -> None:
    """Lose three of five key shares."""
    work.encrypt()
    work.whole_drill = True
    work.edit_shop_escrow(lambda data: data | {"key_shares": data["key_shares"][:2]})


@fault(
    "F16n",
    "The escrow's identity and the snapshot's recipient are not a pair",
    "escrow",
    caught("DR-06", "vault-snapshot-key-lost", "another identity"),
)
def identity_replaced(work: Workspace) -> None:
    """Make a new identity after the backup."""
    work.encrypt()
    other = str(pyrage.x25519.Identity.generate())
    work.edit_shop_escrow(lambda data: data | {"backup_identity": other})


@fault(
    "F16o",
    "An artifact was made anew by somebody who knows the escrow's recipient",
    "encryption",
    caught("DR-02", "encryption-differs", ODOO, "recipient"),
)
def to_the_recipient(work: Workspace) -> None:
    """Encrypt it to the public half, which stands in the manifest, and let the manifest say that this is right."""
    plain = work.path(ODOO.removesuffix(SUFFIX)).read_bytes()
    work.encrypt()
    manifest = work.manifest()
    if manifest.encryption is None:
        raise ValueError("the set is not encrypted")
    recipient = pyrage.x25519.Recipient.from_str(manifest.encryption.escrow_recipient)
    work.replace(work.path(ODOO), pyrage.encrypt(plain, [recipient]))
    digest = f"sha256:{hashlib.sha256(plain).hexdigest()}"
    artifacts = {item.path: item for item in work.hashes(work.newest)}
    known = artifacts[ODOO]
    artifacts[ODOO] = known.model_copy(update={"plain": Plain(bytes=len(plain), digest=digest)})
    work.rewrite(artifacts=tuple(artifacts.values()))
