"""Damage to a database, dumped again by pg_dump itself and with hashes that fit: its content alone gives it away.

The oracle is what pg_dump writes of the damaged database and of the whole one, with everything sorted.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import psycopg

from smos.faults.dr.campaign.model import (
    Bench,
    Dice,
    Effect,
    Level,
    NothingToDo,
    Step,
    Truth,
    run_steps,
    seal,
)
from smos.faults.dr.campaign.objects import OBJECTS
from smos.faults.dr.campaign.reference import Portrait
from smos.faults.dr.campaign.rows import ROWS, Connection
from smos.faults.dr.exercise import Scope
from smos.faults.dr.workspace import Workspace

NAMES = ("smarteros", "n8n", "chatwoot", "botpress")
KINDS: Mapping[str, Callable[[Connection, Dice], str]] = {**ROWS, **OBJECTS}
AHEAD = "a sequence is further ahead: sequences are bound to no snapshot, and the next value collides with nothing"


def compare(whole: Portrait, found: Portrait) -> tuple[Effect, str]:
    """Say whether what a database holds is another thing, and why not."""
    if whole.blocks != found.blocks or whole.positions.keys() != found.positions.keys():
        return Effect.CHANGED, ""
    if whole.positions == found.positions:
        return Effect.SAME, "pg_dump writes the same of it"
    # Which value comes next depends on the increment; what counts here is only whether all went one way.
    before, after = whole.positions, found.positions
    if all(after[name] >= position for name, position in before.items()):
        return Effect.EITHER, AHEAD
    return Effect.CHANGED, ""


def _guarded(operation: Callable[[Connection, Dice], str], connection: Connection, dice: Dice) -> str:
    try:
        return operation(connection, dice)
    except psycopg.Error as error:
        raise NothingToDo(f"refused, {error.sqlstate}") from error


def perform(bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Damage one database by SQL; the first step's dice say which."""
    first = Dice(steps[0].dice)
    name = first.pick(NAMES)
    rest = [Step(step.kind, step.dice[1:]) for step in steps]
    folder = work.path(f"databases/{name}")
    work.drop(folder)
    with work.workshop.clone(name) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET search_path = ''")
        connection.execute("SET allow_system_table_mods = on")
        operations = {kind: partial(_guarded, operation, connection) for kind, operation in KINDS.items()}
        done = run_steps(rest, operations)
        work.workshop.dump(name, folder)
        found = bench.reference.of_database(work.workshop.server, name)
    effect, why = compare(work.workshop.whole(name, bench.reference.of_database), found)
    seal(work)
    return Truth(
        effect=effect,
        done=f"{name}: {done}",
        checks=("DR-03",) if effect is Effect.CHANGED else ("DR-02", "DR-03"),
        scope=Scope(databases=(name,)),
        why=why,
    )


DATABASES = Level(
    name="databases",
    title="rows, rights and definitions of a database, dumped again, hashes made to fit",
    kinds=tuple(KINDS),
    perform=perform,
    examples=12,
    most=2,
)
