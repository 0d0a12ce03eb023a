"""What can go wrong on the way to a host or a store: an error with a stable code, so that it becomes a finding."""

from smos.errors import SmosError
from smos.verdict import Problem


class LiveError(SmosError):
    """Something of production could not be asked or read. code: kebab-case, see docs/live.md.

    transient: another attempt may succeed (a connection that dropped, a stream that stalled).
    """

    def __init__(self, message: str, *, code: str, remedy: str = "", transient: bool = False) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code
        self.transient = transient

    @property
    def problem(self) -> Problem:
        """The error as a fact."""
        return Problem(self.code, self.message)


REMEDIES = {
    "ssh-missing": "install OpenSSH's client on the runner",
    "tool-missing": "install the program on the runner",
    "host-key-changed": "find out why the key changed before anything else: a new machine, or somebody in between;"
    " then replace it in known_hosts",
    "host-key-unknown": "compare `ssh-keyscan HOST` with the key on the host itself, and put it into the file that"
    " host.ssh.known_hosts names",
    "host-refused-login": "give the runner a key that the host's read-only account takes (host.ssh.identity_file,"
    " or an agent)",
    "host-unreachable": "check the address, name resolution, firewall and whether sshd runs",
    "connection-lost": "look at the network between runner and host, and at sshd's log",
    "host-timed-out": "look at the host's load and its disks: a command that only reads did not come to its end",
    "host-command-missing": "the command must be on the host (GNU findutils and coreutils for the backups); see"
    " docs/live.md",
    "host-command-failed": "let the read-only account do what docs/live.md lists; nothing more",
    "host-answer-too-long": "find out what answers in the command's place: this one is short",
    "host-answer-unreadable": "find out what answers in the command's place: the account's shell must start silently"
    " (`ssh HOST true` prints nothing; look at its .bashrc)",
    "backup-directory-unreadable": "correct backups.source in the target, or let the read-only account list it",
    "listing-incomplete": "let the read-only account enter every folder below the backup directory",
    "listing-too-long": "move what is no backup out of the directory, or raise limits.files",
    "unsafe-name": "find out who made this name: no backup has it; the host may be compromised",
    "fetch-stalled": "look at the network and at the host's disks; limits.stall_seconds says how long is waited",
    "fetch-broken-off": "look at the network between runner and host; a drill must get the whole backup over",
    "fetch-timed-out": "backups that take this long to fetch can't be restored in time: raise limits.fetch_seconds"
    " only if the RTO allows it",
    "file-unreadable": "let the read-only account read every backup; a file may also have been pruned meanwhile",
    "source-changed": "run the drill while no backup is written",
    "runner-disk-full": "give the runner room for all backups and what is restored from them (TMPDIR names the"
    " place), or use a runner of your own",
    "store-refused": "check the credentials and what they may do",
    "store-unreachable": "check endpoint, name and network",
}
"""Code to what a person can do about it: one remedy a code, so that error and finding say the same."""


def live_error(code: str, message: str, *, transient: bool = False) -> LiveError:
    """Return the error of a code, with its remedy."""
    return LiveError(message, code=code, remedy=REMEDIES[code], transient=transient)
