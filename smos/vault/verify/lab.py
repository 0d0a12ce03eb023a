"""What a check of the Vault suite works with: the Vault that is verified, and private ones to break."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import hvac

from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.vault.model import VaultEndpoint, VaultError
from smos.vault.verify.stand import Stand, stand_up
from smos.vault.verify.subject import Scratch, Subject
from smos.vault.verify.template import Templates


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultLab:
    """subject: what is verified. stand: its server where it is ours, None where it is live.

    owner: gives the owner of private servers; made on demand. servers: makes a bare one (faults put others in its
    place). provide: makes one that is to be set up as the platform does it. proc: where the kernel tells of processes.
    compose: the file that users start the server by (None: as shipped). spoil: what a fault does to every private Vault
    before its check sees it (negative controls only). templates: copies for private Vaults that differ only in how they
    are run (negative controls only; None: each is set up by itself). subject_alone: look at the Vault that is verified
    and start no other (negative controls only: what is not looked at is unproven). parts: which parts of its course a
    check goes through, by the names it gives them; paths: of the access matrix, those that hold one of these words
    (negative controls only, both; None: all. What is left out is unproven, so a check that was narrowed never passes).
    """

    subject: Subject
    owner: Callable[[], Owner]
    stand: Stand | None = None
    spoil: Callable[[Stand], object] | None = None
    servers: Callable[..., EmbeddedOpenBao] = EmbeddedOpenBao
    provide: Callable[..., EmbeddedOpenBao] = EmbeddedOpenBao
    proc: Path = Path("/proc")
    compose: Path | None = None
    templates: Templates | None = None
    subject_alone: bool = False
    parts: frozenset[str] | None = None
    paths: tuple[str, ...] | None = None

    @property
    def endpoint(self) -> VaultEndpoint:
        """Where the Vault that is verified answers."""
        return self.subject.endpoint

    @property
    def live(self) -> bool:
        """Whether it is somebody's own Vault: then nothing is changed outside of scratch mounts."""
        return self.subject.live

    @property
    def narrowed(self) -> bool:
        """Whether a part of a check's course is left out on purpose: the rest proves less than the check says."""
        return self.subject_alone or self.parts is not None or self.paths is not None

    def goes(self, part: str) -> bool:
        """Tell whether a check goes through this part of its course."""
        return self.parts is None or part in self.parts

    def operator(self) -> AbstractContextManager[hvac.Client]:
        """Yield a client with the verification's own token."""
        return self.subject.operator()

    def as_role(self, name: str) -> AbstractContextManager[hvac.Client]:
        """Yield a client that is logged in as a role."""
        return self.subject.as_role(name)

    def scratch(self, **kinds: bool) -> AbstractContextManager[Scratch]:
        """Yield mounts that live as long as the block: kv=True, transit=True, approle=True."""
        return self.subject.scratch(**kinds)

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)

    def require_own(self) -> None:
        """Raise VaultError (`vault-live`) where a live Vault is verified: another server shows nothing about it."""
        if self.live:
            raise VaultError(
                "This can only be shown by breaking a Vault, and a live one is never broken",
                code="vault-live",
                remedy="run this check with --provision embedded; it then speaks about the stack as shipped",
            )

    @contextmanager
    def bare_server(self, name: str, **options: Any) -> Iterator[EmbeddedOpenBao]:
        """Start a server that was never initialised; it is killed at the end. options: of EmbeddedOpenBao.

        Raises VaultError (`vault-live`).
        """
        self.require_own()
        server = self.servers(self.owner(), name=name, memory=True, **options)
        try:
            server.start()
            yield server
        finally:
            server.kill()

    @contextmanager
    def private_vault(
        self, *, name: str = "private", server: EmbeddedOpenBao | None = None
    ) -> Iterator[Stand]:
        """Stand a Vault up that the block may seal, kill and break; it is killed at the end. server: one of your own.

        A fault spoils it as the last deed of its set-up, just before the root token is revoked.

        Raises VaultError (`vault-live`) where a live Vault is verified: another server shows nothing about it.
        """
        self.require_own()
        server = server or self.provide(self.owner(), name=name, memory=True)
        try:
            if self.templates is not None and self.templates.fits(server):
                stand = self.templates.stand_up(self.owner(), server, name=name)
            else:
                stand = stand_up(self.owner(), name=name, server=server, keep_root=self.spoil is not None)
            if self.spoil is not None:
                self.spoil(stand)
            yield stand if stand.root_token is None else stand.revoked()
        finally:
            server.kill()
