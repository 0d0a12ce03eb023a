"""What the variants of a fault have in common: the bytes that are restored. They are restored once, and read once.

The manifest tells the variants of a fault apart, not the dumps. So the sandbox that the first of them restored is kept,
with what was observed of it, and handed to the next drill whose dumps, globals and limits are the same to the byte.
What a drill does with the manifest (plan, hashes, comparison, roles, questions) is done by each drill itself.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from smos.drill.content import Reading, read_database
from smos.drill.plan import RestorePlan
from smos.drill.recover import Report, load_databases
from smos.drill.restore import RestoreFacts
from smos.drill.stack import Sandbox, installation_for, start_sandbox
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.target import Target


@dataclass(slots=True)
class _Restored:
    """A sandbox, and what was observed of it. key: what was restored; empty for the one that stays empty."""

    key: str
    sandbox: Sandbox
    facts: RestoreFacts | None = None
    readings: dict[str, Reading] = field(default_factory=dict)


@dataclass(slots=True)
class Room:
    """Where one drill works. left: whether something of it was left when it ended."""

    owner: Owner
    left: bool = True


class Shelf:
    """Holds the sandbox that was restored last. owner: has its servers, and outlives the drills.

    base: where the directories of the drills go.
    """

    def __init__(self, owner: Owner, base: Path) -> None:
        self._owner = owner
        self._base = base
        self._rooms: Owner | None = None
        self._last: _Restored | None = None
        self._idle: Sandbox | None = None
        owner.before_close(self.close)

    def begin(self) -> "Loan":
        """Begin a drill."""
        return Loan(self)

    @contextmanager
    def room(self, loan: "Loan") -> Iterator[Room]:
        """Give a drill a room, and clear it: the next one gets the same, unless this one started servers in it."""
        if self._rooms is None:
            self._rooms = Owner("fault", base=self._base)
        owner = self._rooms
        before = set(owner.run_dir.iterdir())
        room = Room(owner)
        try:
            with owner.passing():
                yield room
        except BaseException:
            self.close()
            raise
        if loan.shared:
            room.left = set(owner.run_dir.iterdir()) != before
        else:
            self.close()
            room.left = owner.run_dir.exists()

    def close(self) -> None:
        """End the room, with all that runs in it."""
        if self._rooms is not None:
            owner, self._rooms = self._rooms, None
            owner.close()

    def take(self, plan: RestorePlan, target: Target) -> _Restored | None:
        """Return the sandbox for a plan: the kept one, or a new one; None where none can be shared."""
        if target.vault is not None:
            return None
        if not plan.dumps and not target.databases:  # nothing is restored into it: it stays as it was made
            if self._idle is None:
                self._idle = start_sandbox(self._owner, plan, target)
            return _Restored("", self._idle)
        key = content_key(plan, target)
        if key is None:
            return None
        if self._last is None or self._last.key != key:
            self.drop()
            self._last = _Restored(key, start_sandbox(self._owner, plan, target))
        return self._last

    def drop(self) -> None:
        """Let the kept sandbox go."""
        if self._last is not None:
            server, self._last = self._last.sandbox.postgres, None
            server.kill()
            shutil.rmtree(server.data_dir)


class Loan:
    """What one drill is given: the ways to start, load and read, which ask the shelf first."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._found: _Restored | None = None

    @property
    def shared(self) -> bool:
        """Whether its sandbox is one of the shelf's."""
        return self._found is not None

    def start(self, owner: Owner, plan: RestorePlan, target: Target) -> Sandbox:
        """Start the drill's sandbox, or give the one that holds just what the plan restores."""
        self._found = self._shelf.take(plan, target)
        return self._found.sandbox if self._found is not None else start_sandbox(owner, plan, target)

    def load(
        self, target: Target, plan: RestorePlan, sandbox: Sandbox, owner: Owner, report: Report
    ) -> RestoreFacts:
        """Restore the plan's dumps, unless they are restored already."""
        found = self._found
        if found is None:
            return load_databases(target, plan, sandbox, owner, report)
        if content_key(plan, target) != found.key:
            raise RuntimeError("the drill restores something else than the sandbox was chosen for")
        if found.facts is None:
            try:
                found.facts = load_databases(target, plan, sandbox, owner, report)
            except BaseException:
                self._shelf.drop()
                raise
        known = plan.manifest.system_identifier if plan.manifest else None
        if known == found.facts.sandbox.system_identifier:
            raise RuntimeError("the source's own identifier: a new sandbox would have been refused")
        return found.facts

    def read(self, server: EmbeddedPostgres, restore: RestoreFacts, name: str, jobs: int) -> Reading:
        """Read a restored database, unless it was read already."""
        if self._found is None:
            return read_database(server, restore, name, jobs)
        if name not in self._found.readings:
            self._found.readings[name] = read_database(server, restore, name, jobs)
        return self._found.readings[name]


def content_key(plan: RestorePlan, target: Target) -> str | None:
    """Return a digest of all that a restore is given; None where something is no ordinary file."""
    digest = sha256(target.limits.model_dump_json().encode())
    digest.update(str(installation_for(plan).version_num).encode())
    for source in sorted(plan.dumps, key=lambda item: item.path):
        digest.update(repr(replace(source, path=Path(source.path.name))).encode())
    globals_ = (plan.globals_path,) if plan.globals_path is not None else ()
    for top in (*sorted(item.path for item in plan.dumps), *globals_):
        for path in (top, *sorted(top.rglob("*"))):
            status = path.lstat()
            if S_ISREG(status.st_mode):
                content = sha256(path.read_bytes()).hexdigest()
            elif S_ISDIR(status.st_mode):
                content = "directory"
            else:
                return None
            digest.update(f"{path.relative_to(top.parent)}\0{status.st_mode}\0{content}\n".encode())
    return digest.hexdigest()
