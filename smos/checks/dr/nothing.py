"""The judgement on what was never tried: a missing set fails DR-01 alone; the other checks know nothing then."""

from smos.verdict import Judgement, not_proven


def nothing_restored(what: str) -> Judgement:
    """Return NOT_PROVEN: there was no backup set (or no dump in it) from which a `what` could have come back."""
    return Judgement(
        (
            not_proven(
                "nothing-restored",
                f"No {what} was restored: there was nothing to restore it from",
                "see DR-01 for what is missing from the backups",
            ),
        )
    )


def not_decrypted(what: str, reason: str) -> Judgement:
    """Return NOT_PROVEN: the set is encrypted and could not be opened, so no `what` could come back."""
    return Judgement(
        (
            not_proven(
                "backup-not-decrypted",
                f"No {what} was restored: the backup is encrypted and was not decrypted: {reason}",
                "see DR-06 for Vault, which holds the key, and DR-02 for the backup's own key",
            ),
        )
    )
