"""What all parts of one restore share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smos.drill.administrator import Administrator
from smos.drill.sandbox import SandboxFacts
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.target import Limits


@dataclass(frozen=True, slots=True)
class Context:
    """The sandbox and who administers it; jobs: sessions at a time; scratch: an owned folder on the sandbox's disk.

    superuser: the role that initdb made in the source.
    """

    server: EmbeddedPostgres
    administrator: Administrator
    sandbox: SandboxFacts
    limits: Limits
    jobs: int
    scratch: Path
    progress: Callable[[str], None]
    superuser: str

    @property
    def version(self) -> int:
        """The server's version, e.g. 180006."""
        return self.sandbox.version_num

    @property
    def features(self) -> tuple[str, ...]:
        """What the server was built with: of ssl, icu, zstd, lz4."""
        return self.server.installation.features
