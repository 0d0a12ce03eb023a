"""VAULT-10: a Vault that another Vault's transit key unseals, and what happens when that other one is gone.

Two bare servers with raft: the unsealer, sealed by key shares, and the main one, sealed by a key in the unsealer. At
the end comes the drill of a whole loss: the unsealer comes back first, on a new server, from its own snapshot and
shares; only then the main one can open its storage, by itself.
"""

import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac
from pydantic import SecretStr

from smos.clock import SystemClock
from smos.errors import DeadlineError, ProvisionError
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.target import VaultTarget
from smos.vault.bootstrap import wait_until_active
from smos.vault.escrow import Escrow
from smos.vault.facts import VaultFacts
from smos.vault.model import CLIENT_ERRORS, VaultEndpoint, explain, opened
from smos.vault.recovery import Prepared, prepare, recover
from smos.vault.verify.bare import LIVE, Keys, health_status, initialise, looked, send
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.probe import Probe, ProbeFacts, ask, probe

KEY = "autounseal"
POLICY = """
path "transit/encrypt/autounseal" { capabilities = ["update"] }
path "transit/decrypt/autounseal" { capabilities = ["update"] }
"""
"""All that a Vault needs of its unsealer."""
SHARES, THRESHOLD = 3, 2
OPENS_S = 90.0
"""A restart unseals within 0.3 s; a busy machine must not make it look as if it did not."""
REFUSES_S = 90.0
NO_RETRY = {"BAO_MAX_RETRIES": "0", "VAULT_MAX_RETRIES": "0"}
"""Its client would ask an unsealer that is gone three times, for seconds; the supervisor starts it again anyway."""


def observe(lab: VaultLab) -> ProbeFacts:
    """Set both up, restart the main one, take the unsealer away, bring it back from its snapshot."""
    if lab.live:
        return ProbeFacts(probes=tuple(_declared(lab.endpoint)), details={LIVE: True})
    with ExitStack() as stack, ThreadPoolExecutor(max_workers=1) as pool:
        drill: _Drill | None = None
        if lab.goes("drill"):
            # The new unsealer needs a second until it is ready for a snapshot: meanwhile.
            spare = stack.enter_context(lab.bare_server("unsealer-new", no_network=True))
            drill = spare, pool.submit(prepare, spare, avoid_shares=SHARES)
        course = _Course(lab, stack)
        probes = tuple(course.run(drill))
    return ProbeFacts(probes=probes, details=course.details)


def _declared(endpoint: VaultEndpoint) -> Iterator[Probe]:
    with opened(endpoint) as client:
        yield probe("kind", client.sys.read_seal_status, lambda answer: answer["type"] != "shamir")


_Drill = tuple[EmbeddedOpenBao, Future[Prepared]]
"""The server that the unsealer comes back on, and its readiness."""


@dataclass(slots=True)
class _Course:
    lab: VaultLab
    stack: ExitStack
    details: dict[str, Any] = field(default_factory=dict)
    address: Path = field(default_factory=Path)
    token_file: Path = field(default_factory=Path)

    def run(self, drill: _Drill | None) -> Iterator[Probe]:
        unsealer = self.stack.enter_context(self.lab.bare_server("unsealer"))
        client = self.stack.enter_context(opened(unsealer.endpoint))
        keys = self._unsealer(client)
        self.address = unsealer.socket_path
        main = self.stack.enter_context(self.lab.bare_server("main", adjust=self._sealed_by, env=NO_RETRY))
        with opened(main.endpoint) as own:
            status, recovery, reason = ask(
                lambda: initialise(own, shares=SHARES, threshold=THRESHOLD, recovery=True)
            )
            if recovery is None:
                claim = "kind" if status == 400 else "initialised"  # 400: it wants key shares
                yield Probe(claim=claim, status=status, seen=reason)
                return
            first = self._opens("initialised", main)
            yield first
            if not first.holds:
                return
            yield from _declared(main.endpoint)
            own.token = recovery.root
            path, value = f"cubbyhole/{secrets.token_hex(8)}", secrets.token_hex(16)
            ask(send(own, "POST", path, {"value": value}))

            def kept(claim: str) -> Probe:
                return probe(claim, send(own, "GET", path), lambda found: found["data"]["value"] == value)

            main.kill()
            again = self._starts("restart", main)
            yield again
            if not again.holds:
                return
            yield kept("restart-kept")
            snapshot = self._snapshot(client) if drill is not None else None
            unsealer.kill()
            if self.lab.goes("unsealer-gone"):
                yield from self._without(main, own, recovery)
            if drill is not None and snapshot is not None:
                spare, ready = drill
                yield from self._drill(main, spare, ready.result(), keys, snapshot)
                yield kept("drill-kept")

    def _unsealer(self, client: hvac.Client) -> Keys:
        keys = initialise(client, shares=SHARES, threshold=THRESHOLD)
        for share in keys.shares[:THRESHOLD]:
            client.sys.submit_unseal_key(share)
        wait_until_active(client)
        client.token = keys.root
        client.sys.enable_secrets_engine("transit")
        client.secrets.transit.create_key(KEY)
        client.sys.create_or_update_acl_policy(KEY, POLICY, pretty_print=False)
        made = client.auth.token.create_orphan(policies=[KEY], no_default_policy=True, period="24h")
        owner = self.lab.owner()
        self.token_file = owner.directory("unseal-token", read_only=True) / "token"
        owner.write(self.token_file, str(made["auth"]["client_token"]))
        return keys

    def _sealed_by(self, configuration: dict[str, Any]) -> None:
        seal = {
            "address": f"unix://{self.address}",
            "token": f"file://{self.token_file}",
            "key_name": KEY,
            "mount_path": "transit/",
            "disable_renewal": "true",
        }
        configuration["seal"] = [{"transit": seal}]

    def _snapshot(self, client: hvac.Client) -> Path:
        path = self.lab.owner().directory("unsealer-snapshot", read_only=True) / "raft.snap"
        adapter = hvac.adapters.RawAdapter.from_adapter(client.adapter)
        path.touch(mode=0o600)
        path.write_bytes(adapter.get("/v1/sys/storage/raft/snapshot").content)
        return path

    def _without(self, main: EmbeddedOpenBao, own: hvac.Client, recovery: Keys) -> Iterator[Probe]:
        """Seal and restart it while the unsealer is gone: whatever recovery keys it is given, it stays sealed."""
        own.sys.seal()
        refusal: tuple[int | None, Any, str] = (None, None, "")
        for share in recovery.shares[:THRESHOLD]:
            refusal = ask(lambda share=share: own.sys.submit_unseal_key(share))  # type: ignore[misc]
        status, answer, reason = refusal
        opened_by_keys = None if answer is None else not answer["sealed"]
        refused = status != 200 or opened_by_keys is False
        yield looked("recovery-keys", refused, reason or "the answer says that it is open")
        yield Probe(claim="recovery-keys-health", status=health_status(main.endpoint))
        main.kill()
        try:
            main.start(REFUSES_S)
        except ProvisionError as error:
            late = isinstance(error.__cause__, DeadlineError)
            seen = "it did not answer in time" if late else "it does not start; its supervisor tries again"
            yield looked("down-restart", None if late else True, seen)
            return
        status = health_status(main.endpoint)
        yield looked("down-restart", status == 503, f"it starts; health says {status}")

    def _drill(
        self, main: EmbeddedOpenBao, spare: EmbeddedOpenBao, ready: Prepared, keys: Keys, snapshot: Path
    ) -> Iterator[Probe]:
        """Both were lost: the unsealer from its snapshot and shares, then the main one by itself."""
        escrow = Escrow(
            created=SystemClock().now(),
            threshold=THRESHOLD,
            key_shares=tuple(map(SecretStr, keys.shares)),
        )
        facts = recover(
            spare, snapshot=snapshot, canary=None, escrow=escrow, target=VaultTarget(), prepared=ready
        )
        yield looked("drill-unsealer", facts.unsealed, _reason(facts))
        closed = facts.sealed_below_threshold
        yield looked("drill-threshold", closed, f"after {THRESHOLD - 1} of {THRESHOLD} shares")
        main.kill()
        self.address = spare.socket_path  # in production its name stays and points to the new server
        yield self._starts("drill-main", main)

    def _starts(self, claim: str, main: EmbeddedOpenBao) -> Probe:
        try:
            main.start(OPENS_S)
        except ProvisionError as error:
            return looked(claim, False, error.message)
        return self._opens(claim, main)

    def _opens(self, claim: str, main: EmbeddedOpenBao) -> Probe:
        """Tell whether it becomes active without anybody's help."""
        with opened(main.endpoint) as client:
            try:
                wait_until_active(client, OPENS_S)
            except DeadlineError:
                state = health_status(main.endpoint)
                return looked(claim, False, f"not active after {OPENS_S:g} s; health says {state}")
            except CLIENT_ERRORS as error:
                return looked(claim, None, explain(error))
        return looked(claim, True, "active without a key share")


def _reason(facts: VaultFacts) -> str:
    said = [item.detail for item in facts.problems if item.code != "recovery-login-failed"]
    return "; ".join(said) or "restored from its snapshot and unsealed by its shares"
