"""Other servers than a check asks for: another configuration, other deeds, a wire that lies before them."""

from collections.abc import Callable, Mapping
from typing import Any

import hvac
from pydantic import SecretStr

from smos.errors import ProvisionError
from smos.faults.vault.wire import Meddled, Meddler
from smos.faults.vault.work import VaultWork
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.vault.model import VaultEndpoint, opened
from smos.vault.verify.bare import opened_up
from smos.vault.verify.stand import Stand
from smos.vault.verify.subject import Subject

Options = dict[str, Any]
SOME_PID = 4_000_000


class Fronted:
    """A server before which a meddler sits, or whose deeds are others. All else is the server's own."""

    def __init__(
        self,
        server: EmbeddedOpenBao,
        meddler: Meddler | None = None,
        deeds: Mapping[str, Callable[[EmbeddedOpenBao], object]] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        self._server = server
        self._meddler = meddler
        self._deeds = dict(deeds or {})
        self._values = dict(values or {})

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        deed = self._deeds.get(name)
        return getattr(self._server, name) if deed is None else lambda: deed(self._server)

    @property
    def endpoint(self) -> VaultEndpoint:
        """Where it answers, through the wire."""
        inner = self._server.endpoint
        return inner if self._meddler is None else Meddled(inner, self._meddler)


def other_options(work: VaultWork, change: Callable[[str, Options], object]) -> None:
    """Let every server that the check starts be made with other options. change: gets its name and its options."""
    make = work.lab.servers

    def other(owner: Owner, *, name: str, **options: Any) -> EmbeddedOpenBao:
        change(name, options)
        return make(owner, name=name, **options)

    work.lab = work.lab.but(servers=other)


def configured(work: VaultWork, change: Callable[[dict[str, Any]], object], *, only: str = "") -> None:
    """Let the servers (of this name) have another configuration, changed after the check's own changes."""

    def options(name: str, found: Options) -> None:
        if only not in {"", name}:
            return
        before = found.get("adjust")

        def both(configuration: dict[str, Any]) -> None:
            if before is not None:
                before(configuration)
            change(configuration)

        found["adjust"] = both

    other_options(work, options)


def fronted(
    work: VaultWork,
    meddler: Meddler | None = None,
    *,
    only: str,
    deeds: Mapping[str, Callable[[EmbeddedOpenBao], object]] | None = None,
    values: Mapping[str, Any] | None = None,
) -> None:
    """Put a meddler before the server of this name, or let some of its deeds and values be others."""
    make = work.lab.servers

    def other(owner: Owner, *, name: str, **options: Any) -> Any:
        server = make(owner, name=name, **options)
        return Fronted(server, meddler, deeds, values) if name == only else server

    work.lab = work.lab.but(servers=other)


def before_revocation(work: VaultWork, deed: Callable[[hvac.Client], object]) -> None:
    """Let the set-up of every private Vault do one thing more with its root token, just before it is revoked."""

    def spoil(stand: Stand) -> None:
        with stand.root() as client:
            deed(client)

    work.lab = work.lab.but(spoil=spoil)


def without_pair(work: VaultWork) -> None:
    """Start no pair: what it shows is not what is broken here, and it takes seconds to form."""

    def options(name: str, _found: Options) -> None:
        if name.startswith("pair-"):
            raise ProvisionError("No pair is formed in this case")

    other_options(work, options)


def another_subject(
    work: VaultWork, change: Callable[[dict[str, Any]], object] | None = None, *, sealed: bool = False
) -> None:
    """Let the check look at another Vault: bare, in memory, with this configuration."""
    options: Options = {"adjust": change} if change is not None else {}
    server = work.undo.enter_context(work.lab.bare_server("another-subject", storage="inmem", **options))
    with opened(server.endpoint) as client:
        keys = opened_up(client)
        if sealed:
            client.sys.seal()
    subject = Subject(endpoint=server.endpoint, operator_token=SecretStr(keys.root))
    work.lab = work.lab.but(subject=subject)


def stack_text(work: VaultWork, old: str, new: str) -> None:
    """Change the text of the compose stack's configuration. Raises ValueError where the old text is not there."""

    def options(name: str, found: Options) -> None:
        if name != "stack":
            return
        if old not in found["stack"]:
            raise ValueError(f"the stack's configuration holds no {old!r}")
        found["stack"] = found["stack"].replace(old, new)

    other_options(work, options)


def kernel_says(work: VaultWork, **changes: str) -> None:
    """Let the kernel tell something else of the stack's server. changes: uid, capabilities, swapped, core."""
    told = {"uid": "101 101 101 101", "capabilities": "0" * 16, "swapped": "0", "core": "0"} | changes
    proc = work.lab.owner().directory("proc", read_only=True)
    place = proc / str(SOME_PID)
    place.mkdir()
    status = f"Uid:\t{told['uid']}\nVmSwap:\t{told['swapped']} kB\nCapEff:\t{told['capabilities']}\n"
    (place / "status").write_text(status, encoding="ascii")
    limits = f"Max core file size        0                    {told['core']}                    bytes\n"
    (place / "limits").write_text(limits, encoding="ascii")
    work.lab = work.lab.but(proc=proc)
    fronted(work, only="stack", values={"pid": SOME_PID})
