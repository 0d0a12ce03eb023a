"""A Vault that was set up once, of which every later one is a copy: for cases that change how it is run.

Setting one up takes two seconds, most of them until raft has elected a leader; a server that starts on a copy of its
storage is active in a quarter of a second. The copy holds what the set-up left, byte for byte, under the same shares.
"""

import re
import shutil
from dataclasses import dataclass, field

from smos.provision.certificates import make_certificate
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.stack import stack_text
from smos.provision.owner import Owner
from smos.vault.escrow import read_escrow
from smos.vault.verify.stand import Stand, stand_up

STORED = re.compile(r"^(?:storage|audit|seal)\b.*?^}", re.DOTALL | re.MULTILINE)
"""The stanzas of a configuration on which it depends what lies in the storage."""
COPY_S = 60


@dataclass(slots=True)
class Templates:
    """What was set up once, on the stack's own configuration; it lasts as long as its owner."""

    _made: list[Stand] = field(default_factory=list)

    def fits(self, server: EmbeddedOpenBao) -> bool:
        """Tell whether this server, set up by itself, would have the same in its storage.

        Not where something stands before it: what the set-up sends may be altered there.
        """
        text = server.stack if type(server) is EmbeddedOpenBao else None
        return text is not None and STORED.findall(text) == STORED.findall(stack_text())

    def stand_up(self, owner: Owner, server: EmbeddedOpenBao, *, name: str) -> Stand:
        """Start this server on a copy and open it; its root token is there still. Raises ProvisionError, VaultError."""
        if not self._made:
            self._made.append(_made(owner))
        first = self._made[0]
        owner.run(["/bin/cp", "-a", f"{first.server.data_dir}/.", server.data_dir], timeout_s=COPY_S)
        escrow = owner.directory(f"{name}-escrow", read_only=True) / first.escrow.name
        shutil.copy2(first.escrow, escrow)  # with its mode, which is looked at
        server.start()
        stand = Stand(
            server=server,
            escrow=escrow,
            subject=first.subject.but(endpoint=server.endpoint, credentials=read_escrow(escrow).approles),
            root_token=first.root_token,
        )
        stand.unseal()
        return stand


def _made(owner: Owner) -> Stand:
    """Set one up as shipped, and leave its storage; what it has answered is on the disk."""
    tls = make_certificate(owner, owner.directory("template-tls", read_only=True))
    server = EmbeddedOpenBao(owner, name="template", memory=True, tls=tls, stack=stack_text())
    try:
        return stand_up(owner, name="template", server=server, keep_root=True)
    finally:
        server.kill()
