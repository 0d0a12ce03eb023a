"""Damage inside of the globals, hashes made to fit: roles, attributes, memberships and settings.

The oracle lets psql run them in a server of its own and asks pg_dumpall what roles there are then.
"""

from collections.abc import Sequence
from functools import partial

from smos.faults.dr.campaign.dumps import EDITS
from smos.faults.dr.campaign.files import Edit
from smos.faults.dr.campaign.model import Bench, Dice, Effect, Level, Step, Truth, run_steps, seal
from smos.faults.dr.exercise import Scope
from smos.faults.dr.workspace import Workspace

PATH = "globals.sql.zst"
DATABASE = "n8n"
"""What is restored beside the roles: the least."""


class _Text:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def edit(self, edit: Edit, dice: Dice) -> str:
        self.data, done = edit(dice, self.data)
        return done


def perform(bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Damage the text of the globals."""
    whole = work.unpacked(PATH)
    text = _Text(whole)
    done = run_steps(steps, {kind: partial(text.edit, edit) for kind, edit in EDITS.items()})
    work.pack(PATH, text.data)
    seal(work)
    before, errors = bench.reference.of_globals(whole)
    after, more = bench.reference.of_globals(text.data)
    effect, why = (Effect.SAME, "the same roles come back") if before == after else (Effect.CHANGED, "")
    if effect is Effect.SAME and (more != errors or (b"\0" in text.data and b"\0" not in whole)):
        effect, why = Effect.EITHER, "the same roles come back, though a statement fails or can't be read"
    elif effect is Effect.SAME and not _says_what_it_is(text.data):
        effect, why = Effect.EITHER, "the same roles come back, though its head or its end is another one"
    return Truth(
        effect=effect, done=f"globals: {done}", checks=("DR-03",), scope=Scope(databases=(DATABASE,)), why=why
    )


def _says_what_it_is(data: bytes) -> bool:
    return b"PostgreSQL database cluster dump\n" in data[:100] and data.rstrip(b"\n").endswith(
        b"-- PostgreSQL database cluster dump complete\n--"
    )


ROLES = Level(
    name="globals",
    title="lines and bytes of the globals, hashes made to fit",
    kinds=tuple(EDITS),
    perform=perform,
    examples=6,
    most=2,
)
