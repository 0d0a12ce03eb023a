"""Errors that a user may meet: what happened, what was tried, what to do."""


class SmosError(Exception):
    """Base of every error that this package raises on purpose.

    The text is for the person at the terminal: what happened, then `remedy`, then the last lines of a
    server's log where there is one (`log`). It never holds a secret or a row of data.
    """

    def __init__(self, message: str, *, remedy: str = "", log: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.log = log

    def __str__(self) -> str:
        parts = [self.message]
        if self.remedy:
            parts.append(f"What to do: {self.remedy}")
        if self.log:
            parts.append(f"Last lines of the log:\n{self.log}")
        return "\n".join(parts)


class TargetError(SmosError):
    """The target file or an option is wrong; the message names the key."""


class ProvisionError(SmosError):
    """A server of the harness' own could not be started, reached or stopped."""


class AbsentError(ProvisionError):
    """What a run was asked to use is not on this machine: nothing was shown, and nothing is broken."""


class DeadlineError(SmosError):
    """A wait reached its deadline; the message carries the last error that was seen."""


class BackupError(SmosError):
    """A backup could not be made or read."""


class UnsafeInputError(SmosError):
    """Untrusted input (a dump, an archive) tried something that is never allowed."""


class UnreachableError(SmosError):
    """A server that was named does not answer."""


class AuthenticationError(SmosError):
    """A server answered, and refused who we are."""


class CancelledError(SmosError):
    """The user said no, or nobody could be asked; nothing was changed."""
