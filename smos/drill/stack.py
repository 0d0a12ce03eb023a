"""The sandbox of one drill: PostgreSQL of the right version and a Vault, without a route out, started together."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from smos.drill.plan import RestorePlan
from smos.drill.sandbox import SANDBOX_ADMIN, settings_for
from smos.errors import ProvisionError
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import PostgresInstallation, choose_installation
from smos.provision.owner import Owner
from smos.provision.servers import EMBEDDED, Servers
from smos.target import Target
from smos.vault.recovery import Prepared, prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The servers that the recovery goes into. isolation: how their network was cut.

    vault_ready: a fresh Vault needs a second or two for its first election; it has them while the backup is read.
    """

    postgres: EmbeddedPostgres
    vault: EmbeddedOpenBao | None
    vault_ready: Future[Prepared] | None
    isolation: str


def start_sandbox(owner: Owner, plan: RestorePlan, target: Target, servers: Servers = EMBEDDED) -> Sandbox:
    """Start what the plan needs; both servers at the same time. servers: what makes them.

    PostgreSQL's major version is the backup's where it is installed here, else the newest that is.
    Raises ProvisionError.
    """
    postgres = servers.postgres(
        owner,
        name="sandbox",
        installation=installation_for(plan),
        settings=settings_for(plan.chosen.stored_bytes if plan.chosen else None),
        no_network=True,
        superuser=SANDBOX_ADMIN,
    )
    wanted = target.vault is not None and plan.vault_snapshot is not None
    vault = servers.openbao(owner, name="sandbox-vault", no_network=True) if wanted else None
    waiting = None
    if vault:
        # Not a `with` block: that would wait for the election here.
        pool = ThreadPoolExecutor(1)
        waiting = pool.submit(_start_vault, vault)
        pool.shutdown(wait=False)
    postgres.start()
    return Sandbox(
        postgres=postgres,
        vault=vault,
        vault_ready=waiting,
        isolation=postgres.isolation,
    )


def _start_vault(vault: EmbeddedOpenBao) -> Prepared:
    vault.start()
    return prepare(vault)


def installation_for(plan: RestorePlan) -> PostgresInstallation:
    """Return the PostgreSQL that a plan's dumps are restored with. Raises ProvisionError where there is none."""
    majors = (
        {entry.server_version_num // 10000 for entry in plan.manifest.databases} if plan.manifest else set()
    )
    if len(majors) == 1:
        try:
            return choose_installation(major=majors.pop())
        except ProvisionError:
            pass  # the newest one here restores older dumps; what it can't is recorded as a gap of the sandbox
    return choose_installation()
