"""A private Vault that is set up, backed up, damaged with root rights, and whose snapshot is then taken again.

So a damaged snapshot is what the server itself writes, while canary.json still tells what there was.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hvac
from pydantic import SecretStr

from smos.backup.envelope import DataKey
from smos.clock import SystemClock
from smos.drill.keyring import KeyRing
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.target import VaultTarget
from smos.vault.bootstrap import bootstrap, wait_until_active
from smos.vault.datakey import new_data_key
from smos.vault.escrow import Escrow, read_escrow, write_escrow
from smos.vault.model import opened
from smos.vault.snapshot import backup_credential, take_snapshot

SHARES, THRESHOLD = 5, 3
NAME = "vaultshop"
ACTIVE_S = 120.0
Damage = Callable[[hvac.Client], object]


@dataclass(frozen=True, slots=True)
class _Kept:
    """The Vault at rest. token: root, in memory only."""

    data: Path
    backup: Path
    escrow: Path
    keys: tuple[str, ...]
    token: SecretStr


class VaultShop:
    """Sets its Vault up with the first damage that is asked for; every damage starts from the same state."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._kept: _Kept | None = None
        self._opened: EmbeddedOpenBao | None = None

    def backup(self, vault: Path) -> Path:
        """Copy snapshot and canary of the whole Vault into the set's directory `vault`; return the escrow's path."""
        kept = self._keep()
        for path in kept.backup.iterdir():
            shutil.copyfile(path, vault / path.name)
        return kept.escrow

    def damaged(self, vault: Path, damage: Damage) -> Path:
        """Do the same, with a snapshot that is taken after `damage`."""
        escrow = self.backup(vault)
        with self._running() as root:
            damage(root)
            adapter = hvac.adapters.RawAdapter.from_adapter(root.adapter)
            (vault / "raft.snap").write_bytes(adapter.get("/v1/sys/storage/raft/snapshot").content)
        return escrow

    def ring(self, vault: VaultTarget) -> KeyRing:
        """Return keys from the undamaged Vault, which then runs until the owner ends. vault: names the escrow."""
        ring = KeyRing(vault)
        ring.connect(self._open().endpoint)
        return ring

    def data_key(self, transit_key: str) -> tuple[DataKey, str]:
        """Let the undamaged Vault make a data key; return it and its wrapped form."""
        credential = backup_credential(read_escrow(self._keep().escrow))
        return new_data_key(self._open().endpoint, credential, transit_key)

    def _open(self) -> EmbeddedOpenBao:
        if self._opened is None:
            kept = self._keep()
            server = EmbeddedOpenBao(self._owner, name=NAME, memory=True)
            self._copy(kept, server)
            server.start()
            with opened(server.endpoint) as client:
                self._unseal(client, kept)
            self._opened = server
        return self._opened

    def other(self, vault: Path) -> None:
        """Put the snapshot and canary of another cluster into `vault`."""
        server = EmbeddedOpenBao(self._owner, name="other-cluster", memory=True)
        server.start()
        folder = self._owner.directory("other-cluster-backup", read_only=True)
        try:
            bootstrap(server.endpoint, escrow=folder / "escrow.json", clock=SystemClock())
            take_snapshot(server.endpoint, read_escrow(folder / "escrow.json"), folder / "vault")
        finally:
            server.kill()
        for path in (folder / "vault").iterdir():
            shutil.copyfile(path, vault / path.name)

    def _keep(self) -> _Kept:
        if self._kept is not None:
            return self._kept
        server = EmbeddedOpenBao(self._owner, name=NAME, memory=True)
        server.start()
        folder = self._owner.directory("vaultshop-backup", read_only=True)
        client = server.endpoint.client()
        answer = client.sys.initialize(secret_shares=SHARES, secret_threshold=THRESHOLD)
        keys = tuple(answer["keys_base64"])
        for key in keys[:THRESHOLD]:
            client.sys.submit_unseal_key(key)
        wait_until_active(client, ACTIVE_S)
        client.token = answer["root_token"]
        # The set-up ends with the revocation of the token that it is given; ours stays, to do damage with.
        second = client.auth.token.create_orphan(policies=["root"])["auth"]["client_token"]
        escrow = folder / "escrow.json"
        shares = tuple(SecretStr(key) for key in keys)
        clock = SystemClock()
        write_escrow(
            escrow,
            Escrow(created=clock.now(), threshold=THRESHOLD, key_shares=shares, root_token=SecretStr(second)),
        )
        bootstrap(server.endpoint, escrow=escrow, tenants=("panaderia-nunoa",), clock=clock)
        take_snapshot(server.endpoint, read_escrow(escrow), folder / "vault")
        server.stop()
        self._kept = _Kept(server.data_dir, folder / "vault", escrow, keys, SecretStr(answer["root_token"]))
        return self._kept

    @contextmanager
    def at_rest(self) -> Iterator[EmbeddedOpenBao]:
        """Run a copy of the Vault, sealed as it is after every start."""
        kept = self._keep()
        server = EmbeddedOpenBao(self._owner, name=NAME, memory=True)
        self._copy(kept, server)
        server.start()
        try:
            yield server
        finally:
            server.kill()
            shutil.rmtree(server.data_dir)

    @contextmanager
    def _running(self) -> Iterator[hvac.Client]:
        """Run a copy of the Vault; yields a client with root rights."""
        kept = self._keep()
        with self.at_rest() as server:
            client = server.endpoint.client()
            self._unseal(client, kept)
            client.token = kept.token.get_secret_value()
            yield client

    def _copy(self, kept: _Kept, server: EmbeddedOpenBao) -> None:
        shutil.copytree(kept.data, server.data_dir, dirs_exist_ok=True)
        for path in (server.data_dir, *server.data_dir.rglob("*")):
            self._owner.give(path)

    @staticmethod
    def _unseal(client: hvac.Client, kept: _Kept) -> None:
        for key in kept.keys[:THRESHOLD]:
            client.sys.submit_unseal_key(key)
        wait_until_active(client, ACTIVE_S)
