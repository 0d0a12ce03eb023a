"""Judge one check of a drill's record. The suite and its negative controls both come here."""

from typing import TYPE_CHECKING

from smos.checks.pitr.archive import judge_archive
from smos.checks.pitr.backups import judge_backups
from smos.checks.pitr.content import judge_content, judge_soundness
from smos.checks.pitr.isolation import judge_isolation
from smos.checks.pitr.moments import judge_limits, judge_moment
from smos.checks.pitr.objectives import judge_objectives
from smos.errors import TargetError
from smos.physical.facts import PitrRecord
from smos.target import Objectives
from smos.verdict import Judgement

if TYPE_CHECKING:
    from collections.abc import Callable


def judge(check_id: str, record: PitrRecord, objectives: Objectives) -> Judgement:
    """Return the judgement. Raises TargetError for a check that is not of this suite."""
    judges: dict[str, Callable[[], Judgement]] = {
        "PITR-01": lambda: judge_backups(record),
        "PITR-02": lambda: judge_archive(record),
        "PITR-03": lambda: judge_moment(record),
        "PITR-04": lambda: judge_limits(record),
        "PITR-05": lambda: judge_soundness(record),
        "PITR-06": lambda: judge_objectives(record, objectives),
        "PITR-07": lambda: judge_isolation(record),
        "PITR-08": lambda: judge_content(record),
    }
    if check_id not in judges:
        raise TargetError(f"{check_id} is no check of physical backups")
    return judges[check_id]()
