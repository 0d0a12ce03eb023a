"""What every embedded server has more when its program runs in a container."""

from typing import TYPE_CHECKING

from smos.provision.docker.containers import Containers
from smos.provision.docker.process import ContainerProcess

if TYPE_CHECKING:
    from pathlib import Path

    from smos.provision.base import ServerProcess
    from smos.provision.owner import Owner

    class _Server:
        """What the embedded class behind the mixin brings."""

        _owner: Owner
        _process: ServerProcess | None

        def logs(self) -> str: ...
else:
    _Server = object


class Contained(_Server):
    """Mixed in before the embedded server's class, which calls `_discard` before it starts a process anew."""

    _containers: Containers

    @property
    def container(self) -> ContainerProcess | None:
        """Its container; None before its start."""
        return self._process if isinstance(self._process, ContainerProcess) else None

    @property
    def containers(self) -> Containers:
        """What its owner has on the engine."""
        return self._containers

    @property
    def run_dir(self) -> "Path":
        """Where everything lies that it may see of this machine."""
        return self._owner.run_dir

    def logs(self) -> str:
        """Return everything it has logged, over all its starts."""
        process = self.container
        return super().logs() + (process.output().decode("utf-8", "replace") if process else "")

    def _discard(self) -> None:
        """Remove the container of the last start: one that ended by itself leaves it."""
        if self.container is not None:
            self.container.kill()
