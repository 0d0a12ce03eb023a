"""The recovery itself: sandbox, Vault, databases, volumes, then the questions that show whether it is the same.

What can't be done is recorded as a fact of its own part; one part that fails does not stop the others.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from smos.backup.inspect import SetFacts, inspect_set
from smos.backup.volumes import VolumeFacts
from smos.drill.application import answer_services, ask_smoke, check_references
from smos.drill.compare import compare_databases, restored_roles_differences
from smos.drill.phases import PhaseClock
from smos.drill.plan import RestorePlan
from smos.drill.record import DatabaseContentFacts, ServiceFacts, SmokeFacts
from smos.drill.restore import LOADING_SETTINGS, RestoreFacts, make_durable, restore_set
from smos.drill.volumes import restore_volumes
from smos.errors import ProvisionError, SmosError
from smos.postgres.compare import Difference
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import PostgresInstallation, choose_installation
from smos.provision.owner import Owner
from smos.target import Target
from smos.vault.escrow import read_escrow
from smos.vault.recovery import VaultFacts, recover
from smos.verdict import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What came back. ready: everything that the target declares answered in the sandbox.

    recovery_point: newest committed write that survived in the worst database (UTC); basis: how it is known.
    """

    sandbox: str
    chosen_facts: SetFacts | None
    restore: RestoreFacts | None
    content: tuple[DatabaseContentFacts, ...]
    role_differences: tuple[Difference, ...]
    volumes: tuple[VolumeFacts, ...]
    vault: VaultFacts | None
    services: tuple[ServiceFacts, ...]
    smoke: tuple[SmokeFacts, ...]
    ready: bool
    recovery_point: datetime | None
    recovery_point_basis: str
    data_bytes: int
