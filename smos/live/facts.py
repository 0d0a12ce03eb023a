"""What was observed of a host and of a fetch: facts for the drill's record. Nothing here concludes."""

from dataclasses import dataclass

from smos.vault.health import HealthFacts
from smos.verdict import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFacts:
    """One command of the allow list, as it ran on the host, `times` times.

    name: in the list. words: as they ran (of `read` and the like: the first). bytes_out: of all its answers.
    failed: how many ended with another code than 0 or not at all.
    """

    name: str
    words: tuple[str, ...]
    times: int
    seconds: float
    bytes_out: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomFacts:
    """A file system. path: where it was asked; bytes. inodes_used_percent: None where it counts none."""

    path: str
    mount: str
    total: int
    available: int
    inodes_used_percent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """One host. clock_offset_s: its clock minus the runner's, seconds; it may be off by clock_uncertainty_s.

    problems: what could not be asked, each with its code.
    """

    address: str
    clock_offset_s: float | None
    clock_uncertainty_s: float
    memory_total: int | None
    memory_available: int | None
    rooms: tuple[RoomFacts, ...]
    commands: tuple[CommandFacts, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """The certificate that a public address showed. days_left: until it expires. due_days: fewer are a finding."""

    name: str
    url: str
    days_left: float
    due_days: int
    issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFacts:
    """How the backups came from where they lie to the runner.

    source: where, without secrets. listed, listed_bytes: files in the listing. newest_*: of the files of the newest
    set, read while the clock of RTO ran; total_*: of all. resumed: how often a file was taken up again in its middle.
    problem: why the newest set is not here whole; later: why an older one is not. notes: seen, and no hindrance.
    changed: files that changed while they were read, so that the copy may be of two minds; newest_changed: those of
    the newest set.
    """

    source: str
    listed: int
    listed_bytes: int
    newest_files: int
    newest_bytes: int
    newest_s: float
    total_files: int
    total_bytes: int
    total_s: float
    resumed: int
    problem: Problem | None = None
    later: Problem | None = None
    notes: tuple[Problem, ...] = ()
    changed: tuple[str, ...] = ()
    newest_changed: tuple[str, ...] = ()

    @property
    def bytes_per_s(self) -> float | None:
        """Bandwidth of the newest set; None where nothing was read."""
        return self.newest_bytes / self.newest_s if self.newest_bytes and self.newest_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFacts:
    """What was seen of production during a drill: its host, certificates, Vault, and how its backups came over."""

    host: HostFacts | None
    fetch: FetchFacts | None
    certificates: tuple[CertificateFacts, ...]
    vault: HealthFacts | None
    vault_certificate: CertificateFacts | None = None
