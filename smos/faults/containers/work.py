"""What a fault of the container suite is injected into: a lab that makes containers in another way."""

from collections.abc import Callable, MutableMapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from smos.containers.lab import OPENBAO, POSTGRES, ContainerLab, Server, health


class ContainerWork:
    """One case; a context manager. lab: what the check is run on; faults replace it. undo: runs when it has ended."""

    def __init__(self, lab: ContainerLab) -> None:
        self.lab = lab
        self.undo = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo.close()

    def created_with(self, change: Callable[[MutableMapping[str, Any]], object], *kinds: str) -> None:
        """Create containers with other arguments. kinds: the servers that are looked at then (default: OpenBao)."""
        self.lab = self.lab.but(alter=change, kinds=kinds or (OPENBAO,))

    def trusting(self, state: str) -> None:
        """Take the engine's word for the health of PostgreSQL in this state: the container is known, so it is well."""

        def ask(server: Server, now: str) -> tuple[bool | None, str]:
            return (True, "the engine knows the container") if now == state else health(server)

        self.lab = self.lab.but(ask=ask, kinds=(POSTGRES,))

    def sick_after(self, state: str) -> None:
        """Let PostgreSQL stay sick when it was mended after this state; a second is waited for that."""

        def ask(server: Server, now: str) -> tuple[bool | None, str]:
            return (False, "it stays sick") if now == f"mended after {state}" else health(server)

        self.lab = self.lab.but(ask=ask, kinds=(POSTGRES,), mended_s=1.0)

    def strike(self, moment: str, action: Callable[..., object]) -> None:
        """Do something when a driver comes to this moment."""
        self.lab = self.lab.but(strikes={**self.lab.strikes, moment: action})
