"""The levels of the campaign, by name."""

from smos.faults.dr.campaign.archives import ARCHIVES
from smos.faults.dr.campaign.contents import CONTENTS
from smos.faults.dr.campaign.databases import DATABASES
from smos.faults.dr.campaign.dumps import FOLDERS, FORMATS, PLAIN
from smos.faults.dr.campaign.envelopes import ENVELOPES
from smos.faults.dr.campaign.files import FILES
from smos.faults.dr.campaign.manifests import MANIFESTS
from smos.faults.dr.campaign.model import Level
from smos.faults.dr.campaign.roles import ROLES
from smos.faults.dr.campaign.sets import SETS
from smos.faults.dr.campaign.vaults import VAULTS
from smos.faults.dr.campaign.volumes import VOLUMES

_ALL = (
    FILES,
    SETS,
    MANIFESTS,
    DATABASES,
    PLAIN,
    FOLDERS,
    CONTENTS,
    FORMATS,
    ROLES,
    VOLUMES,
    ARCHIVES,
    VAULTS,
    ENVELOPES,
)


def levels() -> tuple[Level, ...]:
    """Return every level, from the outermost to the innermost."""
    return _ALL


def by_name(name: str) -> Level:
    """Return one level. Raises KeyError."""
    return {level.name: level for level in _ALL}[name]


def share(level: Level, total: int | None) -> int:
    """Return how many cases of a level there are in a run of `total` (None: the usual number)."""
    if total is None:
        return level.examples
    return max(1, round(total * level.examples / sum(item.examples for item in _ALL)))
