"""A private Vault as the platform sets it up: OpenBao with raft, policies, tenants, escrow; root token revoked.

The fixture's own power is a token with compose/vault/verify.hcl, made before the revocation. A root token is kept in
memory only where faults are to be injected (`keep_root`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import hvac
from pydantic import SecretStr

from smos.clock import SystemClock
from smos.paths import compose_dir
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.vault.bootstrap import bootstrap, wait_until_active
from smos.vault.escrow import Escrow, read_escrow, write_escrow
from smos.vault.model import VaultError, opened
from smos.vault.verify.subject import Subject

SHARES, THRESHOLD = 5, 3
TENANTS = ("cl-0001", "cl-0002")
OPERATOR = "smos-verify"
"""Policy of the verification's own token."""
OPERATOR_TTL = "12h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """One server that was set up. escrow: the path of its escrow file. root_token: None unless it was asked for."""

    server: EmbeddedOpenBao
    escrow: Path
    subject: Subject
    root_token: SecretStr | None

    def keys(self) -> Escrow:
        """Read the escrow."""
        return read_escrow(self.escrow)

    @contextmanager
    def root(self) -> Iterator[hvac.Client]:
        """Yield a client with root rights. Raises VaultError where no root token was kept."""
        if self.root_token is None:
            raise VaultError("No root token was kept", remedy="stand the Vault up with keep_root")
        with opened(self.server.endpoint, self.root_token.get_secret_value()) as client:
            yield client

    def revoked(self) -> "Stand":
        """Revoke the root token that was kept, as the platform's set-up ends; return what is left."""
        with self.root() as client:
            client.auth.token.revoke_self()
        return replace(self, root_token=None)

    def unseal(self) -> None:
        """Unseal it with the escrow's shares and wait until it is active."""
        keys = self.keys()
        with opened(self.server.endpoint) as client:
            for share in keys.shares()[: keys.threshold]:
                client.sys.submit_unseal_key(share)
            wait_until_active(client)


def stand_up(
    owner: Owner,
    *,
    name: str = "vault",
    keep_root: bool = False,
    tenants: Sequence[str] = TENANTS,
    server: EmbeddedOpenBao | None = None,
) -> Stand:
    """Start a server and set it up as the platform does. server: one of your own, fresh; None: a new one.

    Raises ProvisionError, VaultError. Takes about a second.
    """
    server = server or EmbeddedOpenBao(owner, name=name, memory=True)
    server.start()
    escrow = owner.directory(f"{name}-escrow", read_only=True) / "escrow.json"
    clock = SystemClock()
    with opened(server.endpoint) as client:
        answer = client.sys.initialize(secret_shares=SHARES, secret_threshold=THRESHOLD)
        for share in answer["keys_base64"][:THRESHOLD]:
            client.sys.submit_unseal_key(share)
        wait_until_active(client)
        client.token = answer["root_token"]
        text = (compose_dir() / "vault" / "verify.hcl").read_text(encoding="utf-8")
        client.sys.create_or_update_acl_policy(OPERATOR, text, pretty_print=False)
        create = client.auth.token.create_orphan
        operator = create(policies=[OPERATOR], ttl=OPERATOR_TTL)["auth"]["client_token"]
        root = create(policies=["root"])["auth"]["client_token"] if keep_root else None
    shares = tuple(SecretStr(share) for share in answer["keys_base64"])
    kept = Escrow(
        created=clock.now(),
        threshold=THRESHOLD,
        key_shares=shares,
        root_token=SecretStr(answer["root_token"]),
    )
    write_escrow(escrow, kept)
    bootstrap(server.endpoint, escrow=escrow, tenants=tenants, clock=clock)
    subject = Subject(
        endpoint=server.endpoint,
        credentials=read_escrow(escrow).approles,
        operator_token=SecretStr(operator),
    )
    return Stand(
        server=server,
        escrow=escrow,
        subject=subject,
        root_token=SecretStr(root) if root is not None else None,
    )
