"""The failover checks: what each of them claims. Their judges are beside this module, pure functions of the record."""

from smos.target import Settings, Target
from smos.verdict import Check

CHECKS = (
    Check(
        "FAILOVER-01",
        "With asynchronous replication, what a failover loses is counted by the client's own ledger and within the"
        " objective",
    ),
    Check(
        "FAILOVER-02",
        "With a synchronous standby no acknowledged commit is lost, whatever befalls the primary, also under load",
    ),
    Check(
        "FAILOVER-03",
        "With a quorum of standbys no acknowledged commit is lost, whichever of them is ahead, also under load",
    ),
    Check(
        "FAILOVER-04",
        "From the disaster until the first acknowledged write on the new primary it takes no longer than the"
        " objective, every time",
    ),
    Check(
        "FAILOVER-05",
        "An old primary that comes back after the promotion takes no writes, and no client is led to it",
    ),
    Check(
        "FAILOVER-06",
        "The old primary is rewound and becomes a standby again, with the same content as the new primary",
    ),
    Check(
        "FAILOVER-07",
        "A Vault cluster that loses its leader under load loses no acknowledged write and elects another",
    ),
    Check(
        "FAILOVER-08",
        "A Vault cluster without a quorum acknowledges no write, and has everything when its nodes are back",
    ),
    Check(
        "FAILOVER-09", "A mode of replication meets the objectives, and what it costs a commit was measured"
    ),
)
OF_POSTGRES = tuple(item.id for item in CHECKS if item.id not in {"FAILOVER-07", "FAILOVER-08"})


def not_required(target: Target, _settings: Settings | None = None) -> tuple[tuple[str, str], ...]:
    """Return (check ID, why) for every check of this suite that the target does not ask for."""
    excused = []
    if not target.databases:
        excused += [(check_id, "the target declares no database") for check_id in OF_POSTGRES]
    if target.vault is None:
        excused += [(check_id, "the target declares no Vault") for check_id in ("FAILOVER-07", "FAILOVER-08")]
    return tuple(excused)
