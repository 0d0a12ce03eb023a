"""A copy of the built-in source's physical backups that one fault may break, and the drill of one check on it."""

import dataclasses
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smos.checks.pitr.exercise import judge
from smos.clock import SystemClock
from smos.errors import SmosError
from smos.faults.pitr.kinds import Kind
from smos.faults.pitr.pages import PAGE, rehash, with_checksum
from smos.physical.drill import Question, choose_backup
from smos.physical.facts import PitrRecord
from smos.physical.run import drill_place
from smos.physical.store import BaseBackup
from smos.physical.wal import split_name
from smos.provision.owner import Owner
from smos.selftest.pitr import DIRECTORY, FIRST, SECOND, SEGMENT_MIB, TAR, WAL, PitrMaterial, copy_store
from smos.target import Objectives
from smos.verdict import Judgement

SEGMENT = SEGMENT_MIB << 20


_HELD = {
    Kind.DIRECTORY: (DIRECTORY,),
    Kind.TAR: (TAR,),
    Kind.CHAIN: (DIRECTORY, FIRST, SECOND),
    Kind.BOTH: (TAR, DIRECTORY),
}


class Stock:
    """Copies of the built-in source's backups that nobody changes, made once each for the cases of one owner."""

    def __init__(self, owner: Owner, material: PitrMaterial) -> None:
        self.owner = owner
        self.material = material
        self._stores: dict[Kind, Path] = {}

    def store(self, kind: Kind) -> Path:
        """Return a store of these backups, with the archive; it is only read."""
        if kind not in self._stores:
            place = self.owner.directory(f"untouched-{kind.value}", memory=True)
            copy_store(self.material, place, (*_HELD[kind], WAL))
            self._stores[kind] = place
        return self._stores[kind]


class PitrWorkspace:
    """What an injection is given. place: the copy, made when it is first asked for. objectives: what is asked for.

    Of backups and archive only those are copied that a fault asks for; the drill reads the others where all cases do.
    """

    def __init__(self, stock: Stock, room: Path) -> None:
        self.owner = stock.owner
        self.material = stock.material
        self._stock = stock
        self.objectives = Objectives()
        self.canary = room / "canary"
        self._place = room / "store"
        self._kind: Kind | None = None
        self._copied = self._copied_wal = False
        self._question: Question = stock.material.question()
        self._meanwhile: list[Callable[[], None]] = []

    @property
    def place(self) -> Path:
        """The copy; of the plain directory where nothing else was said."""
        if not self._copied:
            self._copied = True
            copy_store(self.material, self._place, _HELD[self.kind])
        return self.wal.parent  # the copy of a store has its archive

    @property
    def wal(self) -> Path:
        """The copy of the archive."""
        if not self._copied_wal:
            self._copied_wal = True
            copy_store(self.material, self._place, (WAL,))
        return self._place / WAL

    @property
    def kind(self) -> Kind:
        """Which backups are there: the plain directory where nothing else was said in time."""
        if self._kind is None:
            self._kind = Kind.DIRECTORY
        return self._kind

    def use(self, kind: Kind) -> None:
        """Say which backups are needed, before anything else is done."""
        if self._kind is None:
            self._kind = kind

    def backup(self, name: str = DIRECTORY) -> Path:
        """Return one backup's directory."""
        return self.place / name

    def ask(self, **changes: Any) -> None:
        """Change what the drill asks (fields of Question), or what is known of the source (`known_…`)."""
        known = {
            key.removeprefix("known_"): value for key, value in changes.items() if key.startswith("known_")
        }
        rest = {key: value for key, value in changes.items() if not key.startswith("known_")}
        if known:
            rest["known"] = dataclasses.replace(self._question.known, **known)
        self._question = dataclasses.replace(self._question, **rest)

    def run_with(self, **settings: str) -> None:
        """Let the sandbox run with these settings, above those that protect it."""
        self.ask(settings={**self._question.settings, **settings})

    def meanwhile(self, action: Callable[[], None]) -> None:
        """Do something while the drill runs: after store and archive were looked at for the first time."""
        self._meanwhile.append(action)

    # --- the log ---------------------------------------------------------------------------------------------

    def segments(self, timeline: int | None = None) -> list[Path]:
        """Return the archived segments in the order of the log."""
        found = [path for path in self.wal.iterdir() if len(path.name) == 24]
        return sorted(
            (path for path in found if timeline in {None, int(path.name[:8], 16)}),
            key=lambda path: split_name(path.name, SEGMENT)[::-1],
        )

    def needed(self) -> list[Path]:
        """Return the segments from the newest backup's start on."""
        place = self._place if self._copied else self.material.place
        label = (place / DIRECTORY / "backup_label").read_text()
        first = label.partition("(file ")[2][:24]
        return [path for path in self.segments() if path.name[8:] >= first[8:]]

    # --- data pages ------------------------------------------------------------------------------------------

    def find(self, text: str, *, index: bool = False, name: str = DIRECTORY) -> tuple[Path, int]:
        """Return the file and the block that hold most of `text`: of a table's heap, or of a B-tree's leaves."""
        wanted = text.encode()
        best: tuple[int, Path, int] | None = None
        for path in self.backup(name).glob("base/*/*"):
            if not path.name.isdecimal() or not path.stat().st_size:
                continue
            data = path.read_bytes()
            tree = data[12:16] == b"\x62\x31\x05\x00" or b"\x62\x31\x05\x00" in data[:64]
            if tree != index:
                continue
            for block in range(len(data) // PAGE):
                count = data.count(wanted, block * PAGE, (block + 1) * PAGE)
                if best is None or count > best[0]:
                    best = (count, path, block)
        if best is None or not best[0]:
            raise SmosError(f"the fault changes nothing: no page holds {text!r}")
        return best[1], best[2]

    def edit_page(
        self, path: Path, block: int, change: Callable[[bytes], bytes], *, fits: bool = True
    ) -> None:
        """Change one page; fits: with the page's checksum made to agree."""
        data = bytearray(path.read_bytes())
        old = bytes(data[block * PAGE : (block + 1) * PAGE])
        new = change(old)
        if new == old:
            raise SmosError("the fault changes nothing: the page is as it was")
        data[block * PAGE : (block + 1) * PAGE] = with_checksum(new, block) if fits and any(new) else new
        path.write_bytes(data)

    def rehash(self, name: str = DIRECTORY) -> None:
        """Make a backup's manifest fit what was done to its files."""
        rehash(self.backup(name), self.material.place / name)

    # --- the check -------------------------------------------------------------------------------------------

    def attacked(self) -> str:
        """Return what an attack reached outside of the sandbox."""
        return f"{self.canary} was written" if self.canary.exists() else ""

    def exercise(self, check_id: str) -> Judgement:
        """Run the real drill, as far as one check needs it, and the real judge."""
        return judge(check_id, self.drill((check_id,)), self.objectives)

    def drill(self, checks: Collection[str]) -> PitrRecord:
        """Run the real drill, as far as these checks need it."""
        question = self._question
        if self._meanwhile:
            choose = question.choose or choose_backup

            def acting(
                backups: tuple[BaseBackup, ...], moment: Any, position: str | None
            ) -> BaseBackup | None:
                while self._meanwhile:
                    self._meanwhile.pop()()
                return choose(backups, moment, position)

            question = dataclasses.replace(question, choose=acting)
            place, wal = self.place, self.wal  # what happens meanwhile happens to a copy
        else:
            place = self._place if self._copied else self._stock.store(self.kind)
            wal = (self._place if self._copied_wal else place) / WAL
        with self.owner.passing():
            return drill_place(self.owner, place, question, SystemClock(), checks, wal=wal)


@contextmanager
def workspace(stock: Stock) -> Iterator[PitrWorkspace]:
    """Give a copy of its own; it is removed afterwards."""
    room = stock.owner.directory("case", memory=True)
    try:
        yield PitrWorkspace(stock, room)
    finally:
        shutil.rmtree(room, ignore_errors=True)
