"""Exit codes of the `smos` command; docs/exit-codes.md says when each one is given."""

from enum import IntEnum

import smos.errors


class Exit(IntEnum):
    """What a script may rely on. 0, 1, 10 and 11 mean the same as with pytest."""

    OK = 0
    FAILED = 1
    USAGE = 2
    AUTHENTICATION = 3
    UNREACHABLE = 4
    CANCELLED = 5
    NOT_PROVEN = 10
    BROKEN = 11
    INTERRUPTED = 130


def exit_of(error: Exception) -> Exit:
    """Return the code of an expected error: the kind of the error decides, never its text."""
    kinds = {
        smos.errors.AuthenticationError: Exit.AUTHENTICATION,
        smos.errors.UnreachableError: Exit.UNREACHABLE,
        smos.errors.DeadlineError: Exit.UNREACHABLE,
        smos.errors.CancelledError: Exit.CANCELLED,
        smos.errors.TargetError: Exit.USAGE,
    }
    return next((code for kind, code in kinds.items() if isinstance(error, kind)), Exit.FAILED)
