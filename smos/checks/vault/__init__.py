"""The Vault checks: what each of them claims. Their judges are beside this module, one for each area."""

from smos.target import Provision, Settings, Target
from smos.verdict import Check

CHECKS = (
    Check(
        "VAULT-01",
        "What Vault encrypts comes back byte for byte, and for nobody without the right context and associated"
        " data; forged or altered ciphertext is refused",
    ),
    Check(
        "VAULT-02",
        "Keys rotate as declared, can't be exported or deleted, and a version that was shut off opens nothing",
    ),
    Check(
        "VAULT-03",
        "Signatures and HMACs by Vault's keys verify, also offline, and nothing altered verifies",
    ),
    Check(
        "VAULT-04",
        "Data keys open what they were made for, wrapped ones show no plaintext, and in a batch one bad item"
        " hides no other",
    ),
    Check(
        "VAULT-05",
        "Secrets keep their versions: no write over an unseen change, deletion can be undone, destruction can't",
    ),
    Check(
        "VAULT-06",
        "Every role may do exactly what the access matrix grants, by real requests and by Vault's own account",
    ),
    Check(
        "VAULT-07",
        "Tokens end when they must: by their time, with their parent, after the one use that they were made for",
    ),
    Check(
        "VAULT-08",
        "Every request leaves an audit trail without secrets, and without a working audit device nothing is served",
    ),
    Check(
        "VAULT-09", "Vault says truly whether it is sealed, and opens to a threshold of key shares, no fewer"
    ),
    Check("VAULT-10", "Vault unseals itself by another Vault's key, and stays sealed without that Vault"),
    Check("VAULT-11", "Vault's metrics are refused without a token, can be read, and count what happens"),
    Check(
        "VAULT-12",
        "Vault is hardened: no root token left, audit on, TLS beyond loopback, no superuser, no core dumps",
    ),
    Check("VAULT-13", "A snapshot of Vault brings secrets, rules and keys back on a new server"),
)


def not_required(target: Target, settings: Settings | None = None) -> tuple[tuple[str, str], ...]:
    """Return (check ID, why) for every check of this suite that the target does not ask for."""
    if target.vault is not None:
        if settings is not None and settings.provision is Provision.LIVE and target.vault.seal == "shamir":
            return (("VAULT-10", "the target declares a Vault that is sealed by key shares (vault.seal)"),)
        return ()
    return tuple((item.id, "the target declares no Vault") for item in CHECKS)
