"""The words of the campaign: dice, steps, what a case really did, and what the checks made of it.

A case is a level and a few steps, each a name and some integers. So it can be drawn at random, made smaller when it
fails, written down, and tried again. What became of the backup is said by an oracle that never asks the product.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from smos.faults.dr.campaign.reference import Reference
from smos.faults.dr.exercise import Scope, exercise
from smos.faults.dr.shelf import Shelf
from smos.faults.dr.workspace import Workspace
from smos.verdict import Judgement, Verdict

T = TypeVar("T")
_GOLDEN, _WORD = 2654435761, 2**32
"""Knuth's multiplicative hash: numbers that lie together choose places that lie apart."""


class NothingToDo(Exception):  # noqa: N818  (a way to end a step, no error)
    """What a step wanted to break is not there, or its server refused the change."""


class Dice:
    """Choices from a list of integers: the same list makes the same choices, a used-up one the first of each."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = list(numbers)
        self._next = 0

    def below(self, limit: int) -> int:
        """Return a number from 0 to limit - 1. Raises NothingToDo where there is none."""
        if limit < 1:
            raise NothingToDo("nothing to choose from")
        number = self._numbers[self._next] if self._next < len(self._numbers) else 0
        self._next += 1
        return (number * _GOLDEN % _WORD) % limit

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of `choices`. Raises NothingToDo where there is none."""
        return choices[self.below(len(choices))]

    def two(self, choices: Sequence[T]) -> tuple[T, T]:
        """Return two different ones. Raises NothingToDo where there are not two."""
        first = self.below(len(choices))
        second = (first + 1 + self.below(len(choices) - 1)) % len(choices)
        return choices[first], choices[second]

    def span(self, size: int, most: int) -> tuple[int, int]:
        """Return start and end of a part of `size` things, at least one and at most `most` long."""
        start = self.below(size)
        return start, start + 1 + self.below(min(most, size - start))


@dataclass(frozen=True, slots=True)
class Step:
    """One random operation: its name, and the integers that it draws from."""

    kind: str
    dice: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Draw:
    """A case: at which level what is broken, in this order."""

    level: str
    steps: tuple[Step, ...]

    def text(self) -> str:
        """Return it as one line of JSON, to be kept and tried again."""
        return json.dumps([self.level, *([step.kind, *step.dice] for step in self.steps)])

    @classmethod
    def parse(cls, text: str) -> "Draw":
        """Read what `text` wrote. Raises ValueError."""
        level, *steps = json.loads(text)
        return cls(level, tuple(Step(kind, tuple(numbers)) for kind, *numbers in steps))


class Effect(StrEnum):
    """What the oracle says of the backup after the steps.

    CHANGED: what is restored (at the level of files: a byte of the set) is another one. SAME: it is not. EITHER:
    what is restored is the same, but restoring it raises errors, or by other tools' rules it may differ: a check may
    object, and need not.
    """

    CHANGED = "changed"
    SAME = "same"
    EITHER = "either"


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What was really done. done: in words, without a row of data. why: for SAME and EITHER, why it is harmless.

    checks: that must notice when it is CHANGED (one is enough), and pass when it is SAME. scope: what they are
    narrowed to. must_fail: only FAIL counts as noticed, NOT_PROVEN does not.
    """

    effect: Effect
    done: str
    checks: tuple[str, ...]
    scope: Scope = Scope()  # noqa: RUF009  (frozen)
    why: str = ""
    must_fail: bool = False


class Outcome(StrEnum):
    """How a case ended. MISSED, FALSE_ALARM and BROKE are defects of the product."""

    DETECTED = "detected"
    HARMLESS = "harmless"
    MISSED = "missed"
    FALSE_ALARM = "false-alarm"
    BROKE = "broke"

    @property
    def defect(self) -> bool:
        """Whether the product was wrong."""
        return self not in {Outcome.DETECTED, Outcome.HARMLESS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One case, as it is recorded. verdicts: of each check that was run. codes: of findings that are no information."""

    draw: Draw
    truth: Truth
    outcome: Outcome
    verdicts: Mapping[str, str]
    codes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What a level works with.

    pristine: gives a copy of the backups, of so many sets (None: of all). signing_key: the one that signed them.
    shelf: keeps what was restored last: damage to a manifest or a volume restores the same databases again.
    """

    pristine: Callable[[int | None], Workspace]
    signing_key: Path
    reference: Reference
    scratch: Path
    shelf: Shelf | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """A way to break backups. kinds: names of its steps. perform: does them to a copy, and says what it did.

    examples: cases in a usual run. most: steps of one case. sets: how many of the newest there are (None: all): what
    is put into the newest in the place of its own comes from the one before.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    perform: Callable[[Bench, Workspace, Sequence[Step]], Truth]
    examples: int
    most: int = 1
    sets: int | None = 2


def attempt(bench: Bench, level: Level, draw: Draw) -> Result:
    """Break a copy, run the checks on it, and hold what they say against the oracle."""
    started = time.monotonic()
    work = bench.pristine(level.sets)
    judged: dict[str, Judgement] = {}
    try:
        truth = level.perform(bench, work, draw.steps)
        broke = ""
        for check in truth.checks:
            try:
                judged[check] = exercise(check, work, truth.scope, bench.scratch, bench.shelf)
            except Exception as error:  # noqa: BLE001  (whatever a driver raises is what is looked for)
                broke = f"{check} broke off: {type(error).__name__}: {error}"
                break
    finally:
        shutil.rmtree(work.directory)
    codes = {
        item.code for one in judged.values() for item in one.findings if item.verdict is not Verdict.PASS
    }
    return Result(
        draw=draw,
        truth=truth,
        outcome=Outcome.BROKE if broke else _outcome(truth, judged),
        verdicts={check: one.verdict.value for check, one in judged.items()},
        codes=(*sorted(codes), *([broke] if broke else [])),
        seconds=round(time.monotonic() - started, 3),
    )


def _outcome(truth: Truth, judged: Mapping[str, Judgement]) -> Outcome:
    verdicts = {one.verdict for one in judged.values()}
    noticed = Verdict.FAIL in verdicts or (not truth.must_fail and bool(verdicts - {Verdict.PASS}))
    if truth.effect is Effect.CHANGED:
        return Outcome.DETECTED if noticed else Outcome.MISSED
    if truth.effect is Effect.SAME:
        return Outcome.HARMLESS if verdicts <= {Verdict.PASS} else Outcome.FALSE_ALARM
    return Outcome.DETECTED if noticed else Outcome.HARMLESS


def seal(work: Workspace, **moved: str) -> None:
    """Make the newest set's manifest fit its files, and sign it: no hash gives the damage away.

    moved: names of databases and volumes whose dump or archive lies at another path of the set now.
    """
    manifest = work.manifest()
    work.rewrite(
        artifacts=work.hashes(work.newest),
        databases=tuple(
            item.model_copy(update={"directory": moved.get(item.name, item.directory)})
            for item in manifest.databases
        ),
        volumes=tuple(
            item.model_copy(update={"archive": moved.get(item.name, item.archive)})
            for item in manifest.volumes
        ),
    )


def run_steps(steps: Sequence[Step], operations: Mapping[str, Callable[[Dice], str]]) -> str:
    """Do the steps one after the other; return what they did, in words."""
    done = []
    for step in steps:
        try:
            done.append(operations[step.kind](Dice(step.dice)))
        except NothingToDo as nothing:
            done.append(f"{step.kind}: nothing ({nothing})")
    return "; ".join(done)
