"""Damage to an encrypted set: its files, what the manifest says of their envelopes, hashes made to agree.

The oracle: an artifact whose bytes are other ones, or of which another thing is said, is no longer what was sealed.
Only who has the data key could make one, and nobody here has it. The canary, which lies there in plain text, is not
touched: it is Vault's check that reads it.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from smos.backup.envelope import SUFFIX
from smos.backup.manifest import MANIFEST_NAME
from smos.faults.dr.campaign.files import BYTES
from smos.faults.dr.campaign.manifests import another, leaves, of_another_kind, why_harmless
from smos.faults.dr.campaign.model import Bench, Dice, Effect, Level, Step, Truth, seal
from smos.faults.dr.workspace import Workspace

HARMLESS = ((r"encryption/format", "left out, the default says the same"),)
"""Statements that may be left out."""


def _sealed(work: Workspace) -> list[Path]:
    return sorted(path for path in work.newest.rglob(f"*{SUFFIX}") if path.is_file())


def _bytes(kind: str, work: Workspace, dice: Dice) -> str:
    path = dice.pick(_sealed(work))
    before = path.read_bytes()
    data, done = BYTES[kind](dice, before)
    path.write_bytes(data)
    return "" if data == before else f"{path.relative_to(work.newest)}: {done}"


def _exchange(work: Workspace, dice: Dice) -> str:
    """Exchange two artifacts with all that the manifest says of them; they open with the same key."""
    one, other = dice.two(_sealed(work))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    names = [path.relative_to(work.newest).as_posix() for path in (one, other)]
    said = {item.path: item for item in work.manifest().artifacts}
    plain = {names[0]: said[names[1]].plain, names[1]: said[names[0]].plain}
    work.rewrite(
        artifacts=tuple(
            item.model_copy(update={"plain": plain.get(item.path, item.plain)}) for item in said.values()
        )
    )
    return f"{names[0]} and {names[1]} exchanged"


def _remove(work: Workspace, dice: Dice) -> str:
    path = dice.pick(_sealed(work))
    path.unlink()
    return f"{path.relative_to(work.newest)} removed"


def _rename(work: Workspace, dice: Dice) -> str:
    path = dice.pick(_sealed(work))
    suffix = dice.pick(("", SUFFIX * 2, SUFFIX.upper(), ".gpg"))
    path.rename(path.with_name(path.name.removesuffix(SUFFIX) + suffix))
    return f"{path.relative_to(work.newest)} ends in {suffix!r}"


def _add(work: Workspace, dice: Dice) -> str:
    path = dice.pick(_sealed(work))
    more = path.with_name(f"{'9999.dat' if path.parent.name != 'volumes' else 'more'}.zst{SUFFIX}")
    more.write_bytes(path.read_bytes())
    return f"{more.relative_to(work.newest)} added"


FILES: dict[str, Callable[[Workspace, Dice], str]] = {
    **{kind: partial(_bytes, kind) for kind in BYTES},
    "exchange two artifacts": _exchange,
    "remove an artifact": _remove,
    "rename an artifact": _rename,
    "add an artifact": _add,
}


def _statement(work: Workspace, dice: Dice, key: Path) -> tuple[str, Effect]:
    """Change something that the manifest says of the envelopes, in value or in kind."""
    manifest = json.loads(work.path(MANIFEST_NAME).read_bytes())
    said: dict[str, Any] = {"encryption": manifest["encryption"]}
    said |= {item["path"]: item["plain"] for item in manifest["artifacts"] if item["plain"]}
    where = dice.pick(("encryption", *sorted(said)))
    container, name, path = dice.pick(list(leaves(said[where], where)))
    before = container[name]
    if dice.below(4) == 0:
        del container[name]
        done, harmless = f"{path} removed", bool(why_harmless(path, HARMLESS))
    else:
        container[name] = dice.pick((another, of_another_kind))(before, dice)
        done, harmless = f"{path} changed", False
    work.path(MANIFEST_NAME).write_bytes(json.dumps(manifest).encode())
    work.sign(work.newest, key)
    return done, Effect.EITHER if harmless else Effect.CHANGED


def perform(bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Encrypt the set, and damage it."""
    work.encrypt()
    kind, dice = steps[0].kind, Dice(steps[0].dice)
    if kind == STATEMENT:
        done, effect = _statement(work, dice, bench.signing_key)
        return Truth(
            effect=effect, done=done, checks=("DR-02",),
            why="" if effect is Effect.CHANGED else "the default says the same",
        )  # fmt: skip
    done = FILES[kind](work, dice)
    if not done:
        return Truth(effect=Effect.SAME, done="nothing", checks=("DR-02",), why="no byte is another one")
    seal(work)
    return Truth(effect=Effect.CHANGED, done=done, checks=("DR-02",))


STATEMENT = "statement"
ENVELOPES = Level(
    name="envelopes",
    title="files of an encrypted set and what is said of them, signed with the real key",
    kinds=(*FILES, *(STATEMENT,) * 6),
    perform=perform,
    examples=4,
    sets=1,
)
