"""Unlisted damage: whatever random damage changes is noticed, whatever it does not change passes."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fixtures.campaign import PARTS, Campaign
from smos.faults.dr.campaign import LEVELS

pytestmark = pytest.mark.negative

FOUND = YAML(typ="safe").load(Path(__file__).with_name("examples.yml"))
"""Damage that the product once judged wrongly."""


@pytest.mark.parametrize("part", range(PARTS), ids=[f"part-{number + 1}" for number in range(PARTS)])
@pytest.mark.parametrize("level", LEVELS)
def test_unlisted_damage_is_noticed_and_nothing_else(level: str, part: int, campaign: Campaign) -> None:
    """An oracle that never asks the product says whether anything changed; the checks must agree."""
    wrong = campaign.search(level, part)
    assert not wrong, f"seed {campaign.seed}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("found", FOUND, ids=[item["name"] for item in FOUND])
def test_damage_that_was_once_judged_wrongly_is_judged_rightly(
    found: dict[str, str], campaign: Campaign
) -> None:
    """Counter-examples stay: each one is tried in every run."""
    result = campaign.again(found["case"])
    assert found["done"] in result.truth.done, "this case does something else by now: find one that does it"
    assert not result.outcome.defect, (result.truth, result.verdicts)
