"""The sandbox of a recovery in a container without a network: it sees its data, its tablespaces, and the log to read.

It is the sandbox of this machine's processes but for where its program runs: nothing else of the machine is there.
Tools that look at files (pg_verifybackup, pg_combinebackup, pg_checksums) are this machine's.
"""

from collections.abc import Sequence
from typing import Any

from smos.errors import AbsentError
from smos.physical.sandbox import SandboxPostgres
from smos.provision.docker.catalogue import REMEDY
from smos.provision.docker.postgres import DockerPostgres
from smos.provision.installations import PostgresInstallation
from smos.provision.owner import Owner


class ContainedSandbox(SandboxPostgres, DockerPostgres):
    """A recovering server in a container. Raises AbsentError where the engine has no image of the backup's version."""

    def __init__(
        self,
        owner: Owner,
        *,
        installation: PostgresInstallation,
        launcher: Sequence[str] = (),
        **options: Any,
    ) -> None:
        if launcher:
            raise AbsentError(
                "A backup that is recovered in place is shown by mounts of this machine, which no container sees",
                remedy="restore_mode: full, or --provision embedded",
            )
        super().__init__(owner, installation=installation, **options)
        if self._image_major != installation.major:
            raise AbsentError(
                f"The engine has no image of PostgreSQL {installation.major}, on which alone this backup runs",
                remedy=f"{REMEDY}; or --provision embedded",
            )
