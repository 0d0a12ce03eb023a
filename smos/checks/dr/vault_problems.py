"""What each problem of a Vault recovery's record means: data for the judge of DR-06."""

from smos.verdict import Verdict

OTHER_COPY = "take the snapshot from another copy or another day; then find what damages backups on their way"
SANDBOX = "mend the sandbox as the message says and run the drill again; the backup itself is not blamed"
ESCROW = "fetch the key shares from their keepers, give the file as `vault.escrow` (mode 0600) and run again"

PROBLEMS: dict[str, tuple[Verdict, str, str, str]] = {
    # problem of the record: (verdict, finding, sentence, remedy)
    "snapshot-missing": (
        Verdict.FAIL,
        "vault-snapshot-missing",
        "Vault's snapshot is missing in the set",
        "take a raft snapshot with every backup",
    ),
    "snapshot-refused": (
        Verdict.FAIL,
        "vault-snapshot-corrupt",
        "The server refused the snapshot",
        OTHER_COPY,
    ),
    "snapshot-too-large": (
        Verdict.NOT_PROVEN,
        "vault-snapshot-too-large",
        "Vault's snapshot exceeds the limits of the target",
        "raise `limits.bytes` when the size is right",
    ),
    "snapshot-unreadable": (
        Verdict.NOT_PROVEN,
        "vault-snapshot-unreadable",
        "Vault's snapshot can't be read",
        "give the drill's user the right to read the backup directory",
    ),
    "snapshot-key-lost": (
        Verdict.FAIL,
        "vault-snapshot-key-lost",
        "Vault's snapshot is encrypted, and the escrow does not open it",
        "put the identity (AGE-SECRET-KEY-1…) that belongs to that recipient into the escrow as `backup_identity`",
    ),
    "snapshot-not-opened": (
        Verdict.FAIL,
        "vault-snapshot-corrupt",
        "Vault's snapshot does not decrypt",
        OTHER_COPY,
    ),
    "canary-contradicts-manifest": (
        Verdict.FAIL,
        "vault-canary-contradicts",
        "The canary file and the manifest name different policies or roles",
        "do not trust this set; find out who or what changed it",
    ),
    "escrow-missing": (
        Verdict.NOT_PROVEN,
        "vault-escrow-missing",
        "Without the escrow nothing can be shown",
        ESCROW,
    ),
    "escrow-unreadable": (
        Verdict.NOT_PROVEN,
        "vault-escrow-missing",
        "The escrow file can't be used",
        ESCROW,
    ),
    "escrow-exposed": (
        Verdict.FAIL,
        "vault-escrow-exposed",
        "The escrow file is open to others",
        "set mode 0600, rotate the credentials and the unseal keys: others may know them",
    ),
    "shares-do-not-fit": (
        Verdict.FAIL,
        "vault-wrong-cluster",
        "The escrow's key shares do not open this snapshot: it is of another cluster, or of before a re-key",
        "find the snapshot and shares that belong together; write new shares to the escrow at every re-key",
    ),
    "still-sealed": (
        Verdict.FAIL,
        "vault-still-sealed",
        "The escrow's key shares were not enough",
        "collect as many shares as the seal's threshold asks for",
    ),
    "unseal-failed": (
        Verdict.FAIL,
        "vault-still-sealed",
        "The restored Vault could not be unsealed",
        "read the server's log; is this the seal (Shamir or auto-unseal) that the source had?",
    ),
    "not-active": (
        Verdict.FAIL,
        "vault-not-active",
        "The restored Vault was unsealed and never became active",
        "read the server's log: storage or mounts of the snapshot could not be set up",
    ),
    "sandbox-audit-differs": (
        Verdict.NOT_PROVEN,
        "vault-sandbox-audit",
        "The sandbox must declare the same audit device as the source",
        "give the sandbox the audit stanza of the source, with a relative file_path in both",
    ),
    "sandbox-audit-unusable": (
        Verdict.NOT_PROVEN,
        "vault-sandbox-audit",
        "The sandbox can't open the source's audit device",
        "use a relative file_path in the source, or make that path writable in the sandbox",
    ),
    "sandbox-refused": (Verdict.NOT_PROVEN, "vault-unreachable", "The sandbox failed", SANDBOX),
    "sandbox-not-ready": (Verdict.NOT_PROVEN, "vault-unreachable", "The sandbox was not ready", SANDBOX),
    "sandbox-not-fresh": (Verdict.NOT_PROVEN, "vault-unreachable", "The sandbox was not empty", SANDBOX),
    "recovery-stopped": (Verdict.NOT_PROVEN, "vault-unreachable", "The recovery stopped", SANDBOX),
    "restore-failed": (Verdict.NOT_PROVEN, "vault-unreachable", "The restore had no effect", SANDBOX),
    "canary-unreadable": (
        Verdict.NOT_PROVEN,
        "vault-canary-missing",
        "The canary file can't be used",
        "take the backup with this tool: it writes canary.json beside the snapshot",
    ),
    "recovery-login-failed": (
        Verdict.FAIL,
        "vault-login-failed",
        "The role that opens backups can't log in",
        "restore its AppRole and its policy `recovery`, and put its credential into the escrow",
    ),
    "canary-refused": (
        Verdict.FAIL,
        "vault-allowed-read-refused",
        "The role that opens backups may not decrypt",
        "restore the policy `recovery`",
    ),
    "canary-undecryptable": (
        Verdict.FAIL,
        "vault-canary-undecryptable",
        "Ciphertext from before the disaster does not decrypt",
        "keep the transit key and its old versions: no trimming, no higher min_decryption_version",
    ),
    "canary-not-asked": (
        Verdict.NOT_PROVEN,
        "vault-unreachable",
        "Nobody answered when the canary was to be decrypted",
        SANDBOX,
    ),
    "catalog-refused": (
        Verdict.NOT_PROVEN,
        "vault-catalog-unread",
        "Policies and roles could not be read",
        "give the policy `recovery` its read rights (compose/vault/policies/recovery.hcl)",
    ),
    "catalog-too-large": (
        Verdict.NOT_PROVEN,
        "vault-catalog-unread",
        "There are too many secrets to compare",
        "split the KV mount",
    ),
    "transit-versions-lost": (
        Verdict.FAIL,
        "vault-canary-undecryptable",
        "Versions of the transit key are missing",
        "the snapshot is older than the data it must open: take it together with them",
    ),
}
