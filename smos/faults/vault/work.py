"""What a fault of the Vault suite is injected into: a private Vault with root rights, and the lab that a check sees.

Whatever is changed on the server is undone at the end of the case (`undo`), so that one server serves many faults.
Where a server itself would have to lie, the wire does (`meddle`, see wire.py).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import hvac

from smos.checks.vault.exercise import exercise
from smos.faults.vault.narrowed import NARROWINGS, Narrowing
from smos.faults.vault.wire import Meddled, Meddler, Message, Reply
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.stand import Stand
from smos.verdict import Judgement


@dataclass(slots=True)
class VaultWork:
    """One case. lab: what the check is run on; faults may replace it. undo: runs when the case has ended."""

    stand: Stand
    lab: VaultLab
    undo: ExitStack = field(default_factory=ExitStack)

    def root(self) -> AbstractContextManager[hvac.Client]:
        """Yield a client of the server with root rights."""
        return self.stand.root()

    def subject(self, **changes: Any) -> None:
        """Let the check look at something else: another mount, key, credential."""
        self.lab = self.lab.but(subject=self.lab.subject.but(**changes))

    def look_at(self, *parts: str) -> None:
        """Let the check go through these parts of its course only: where the fault lies. The rest stays unproven."""
        self.lab = self.lab.but(parts=frozenset(parts))

    def meddle(self, meddler: Meddler) -> None:
        """Let the wire between check and server change requests or answers."""
        self.subject(endpoint=Meddled(self.lab.subject.endpoint, meddler))

    def requests(self, change: Callable[[Message], object]) -> None:
        """Let `change` alter every request, in place."""
        self.meddle(Meddler(request=change))

    def replies(self, change: Callable[[Message, Reply], Reply | None]) -> None:
        """Let `change` alter every answer, in place, or give another one."""
        self.meddle(Meddler(reply=change))

    def instead(self, answer: Callable[[Message], Reply | None]) -> None:
        """Let `answer` answer in the server's place; None: the server does."""
        self.meddle(Meddler(instead=answer))

    def with_root(self, change: Callable[[hvac.Client], object]) -> None:
        """Change something on the server with root rights."""
        with self.root() as client:
            change(client)

    def afterwards(self, change: Callable[[hvac.Client], object]) -> None:
        """Undo it with root rights when the case has ended."""
        self.undo.callback(self.with_root, change)

    def run(self, check_id: str) -> Judgement:
        """Run the real check. Raises ValueError where no pristine Vault is looked at in the same narrowed way."""
        if self.lab.narrowed and Narrowing.of(check_id, self.lab) not in NARROWINGS:
            raise ValueError(f"{check_id}, narrowed so, is not in NARROWINGS (smos/faults/vault/narrowed.py)")
        return exercise(check_id, self.lab)


@contextmanager
def working(stand: Stand, lab: VaultLab) -> Iterator[VaultWork]:
    """Yield a case; what it changed on the server is undone at the end."""
    work = VaultWork(stand, lab)
    with work.undo:
        yield work
