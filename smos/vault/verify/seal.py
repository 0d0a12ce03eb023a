"""VAULT-09: what Vault says of its seal, and what opens it.

The Vault that is verified is asked how it is. Sealing, wrong shares and the rest are shown on a bare server, the state
"standby" on a pair of servers with raft between them, over TLS; the pair forms while the seal is tried.
"""

import base64
import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import hvac

from smos.errors import SmosError
from smos.provision.certificates import make_certificate
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.ports import PortClaim
from smos.vault.bootstrap import is_active
from smos.vault.model import CLIENT_ERRORS, opened
from smos.vault.verify.bare import LIVE, Keys, health_status, initialise, looked, opened_up, send
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.probe import Probe, ProbeFacts, ask
from smos.wait import wait_for

SHARES, THRESHOLD = 5, 3
STANDBY_S = 120.0
"""A node joins within a second and is a standby some three seconds later; raft's elections take their time."""
ACTIVE_S = 120.0


def observe(lab: VaultLab) -> ProbeFacts:
    """Ask the Vault that is verified; then take bare ones through every state."""
    probes = [Probe(claim="subject-active", status=health_status(lab.endpoint)), _threshold(lab)]
    if lab.live:
        return ProbeFacts(probes=tuple(probes), details={LIVE: True})
    with ThreadPoolExecutor(max_workers=1) as pool:
        pair: Future[Probe] = pool.submit(_standby, lab)
        with lab.bare_server("seal", storage="inmem") as server, opened(server.endpoint) as client:
            course = _Course(server, client)
            probes += course.run()
        probes.append(pair.result())
    return ProbeFacts(probes=tuple(probes), details=course.details)


def _threshold(lab: VaultLab) -> Probe:
    """Ask, without a token, how many shares open it; where it unseals itself: how many recovery keys count."""
    with opened(lab.endpoint) as client:
        status, answer, reason = ask(client.sys.read_seal_status)
    try:
        if status != 200 or not answer["initialized"]:
            return Probe(claim="subject-threshold", status=None, seen=reason or "it is not initialised")
        threshold, shares = int(answer["t"]), int(answer["n"])
    except (KeyError, TypeError, ValueError):
        return looked("subject-threshold", None, "an ill-formed answer")
    if (
        not shares and answer.get("type") != "shamir"
    ):  # nobody can make a root token of recovery keys that are none
        return looked("subject-threshold", True, "no recovery keys")
    return looked("subject-threshold", 1 < threshold <= shares, f"{threshold} of {shares} shares")


@dataclass(slots=True)
class _Course:
    server: EmbeddedOpenBao
    client: hvac.Client
    opened_early: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Iterator[Probe]:
        yield self._state("uninitialised")
        keys = initialise(self.client, shares=SHARES, threshold=THRESHOLD)
        yield self._state("sealed")
        yield from self._below(keys)
        if self.opened_early:
            return
        yield from self._wrong(keys)
        yield from self._opened(keys)
        yield from self._sealed_again(keys)

    def _state(self, claim: str) -> Probe:
        return Probe(claim=claim, status=health_status(self.server.endpoint))

    def _below(self, keys: Keys) -> Iterator[Probe]:
        """Give shares, one twice, up to one below the threshold: progress counts, nothing opens."""
        counted, nonces, states = [], [], []
        for share in (keys.shares[0], keys.shares[0], *keys.shares[1 : THRESHOLD - 1]):
            answer = self.client.sys.submit_unseal_key(share)
            counted.append(answer["progress"])
            nonces.append(answer["nonce"])
            states.append(answer["sealed"])
        wanted = [1, *range(1, THRESHOLD)]
        self.details["progress"] = counted
        yield looked("progress", counted == wanted, f"progress was {counted}, expected {wanted}")
        yield looked("nonce", len(set(nonces)) == 1 and bool(nonces[0]), f"{len(set(nonces))} nonces")
        yield looked("below-threshold", all(states), f"after {THRESHOLD - 1} of {THRESHOLD} shares")
        yield self._state("below-threshold-health")
        self.opened_early = not all(states)
        if self.opened_early:
            return
        reset = self.client.sys.submit_unseal_key(reset=True)
        yield looked("reset", reset["progress"] == 0 and reset["sealed"], f"progress {reset['progress']}")
        again = self.client.sys.submit_unseal_key(keys.shares[0])
        yield looked("nonce-fresh", again["nonce"] not in {"", *nonces}, "the nonce of the second attempt")
        self.client.sys.submit_unseal_key(reset=True)

    def _wrong(self, keys: Keys) -> Iterator[Probe]:
        """Complete the threshold with a share of nobody's: it must be refused, and the attempt start anew."""
        false = bytearray(base64.b64decode(keys.shares[THRESHOLD - 1]))
        false[0] ^= 1
        wrong = base64.b64encode(bytes(false)).decode()
        for share in keys.shares[: THRESHOLD - 1]:
            self.client.sys.submit_unseal_key(share)
        status, _, reason = ask(lambda: self.client.sys.submit_unseal_key(wrong))
        yield Probe(claim="wrong-share", status=status, seen=reason)
        yield self._state("wrong-share-health")

    def _opened(self, keys: Keys) -> Iterator[Probe]:
        """Give a threshold of shares, other ones than before."""
        for share in keys.shares[-THRESHOLD:]:
            answer = self.client.sys.submit_unseal_key(share)
        yield looked("threshold", not answer["sealed"], f"after {THRESHOLD} shares")
        self._active()
        yield self._state("active")

    def _sealed_again(self, keys: Keys) -> Iterator[Probe]:
        """Seal it: nothing is given out; unsealed again, everything is there."""
        self.client.token = keys.root
        path, value = f"cubbyhole/{secrets.token_hex(8)}", secrets.token_hex(16)
        ask(send(self.client, "POST", path, {"value": value}))
        status, _, reason = ask(self.client.sys.seal)
        yield Probe(claim="seals", status=status, seen=reason)
        yield self._state("sealed-again")
        for claim, request in (
            ("sealed-read", send(self.client, "GET", path)),
            ("sealed-write", send(self.client, "POST", path, {"value": "x"})),
            ("sealed-login", send(self.client, "GET", "auth/token/lookup-self")),
        ):
            status, _, reason = ask(request)
            yield Probe(claim=claim, status=status, seen=reason)
        for share in keys.shares[:THRESHOLD]:
            ask(partial(self.client.sys.submit_unseal_key, share))
        self._active()
        status, answer, reason = ask(send(self.client, "GET", path))
        held = None if status != 200 else answer["data"]["value"] == value
        yield Probe(claim="kept", status=status, holds=held, seen=reason)

    def _active(self) -> None:
        wait_for(
            lambda: is_active(self.client),
            what="Vault is unsealed and active",
            deadline_s=ACTIVE_S,
            transient=CLIENT_ERRORS,
        )


def _standby(lab: VaultLab) -> Probe:
    """Form a pair and ask the second node; what hinders the pair leaves the state unproven."""
    try:
        with ExitStack() as stack:
            return Probe(claim="standby", status=_pair(lab, stack))
    except (SmosError, *CLIENT_ERRORS) as error:
        return Probe(claim="standby", seen=f"the pair did not form: {str(error)[:200]}")


def _pair(lab: VaultLab, stack: ExitStack) -> int | None:
    tls = make_certificate(lab.owner(), lab.owner().directory("pair-tls", read_only=True))
    ports = [stack.enter_context(PortClaim()) for _ in range(2)]
    leader: list[EmbeddedOpenBao] = []

    def node(number: int) -> EmbeddedOpenBao:
        def adjust(configuration: dict[str, Any]) -> None:
            listener = configuration["listener"][-1]["tcp"]
            listener["cluster_address"] = ports[number].address
            configuration["api_addr"] = f"https://{listener['address']}"
            configuration["cluster_addr"] = f"https://{ports[number].address}"
            if number:
                joins = {
                    "leader_api_addr": leader[0].tls_endpoint.url,
                    "leader_ca_cert_file": str(tls.ca),
                }
                configuration["storage"]["raft"]["retry_join"] = [joins]

        server = stack.enter_context(lab.bare_server(f"pair-{number}", tls=tls, adjust=adjust))
        leader.append(server)
        return server

    first, second = node(0), node(1)
    with opened(first.endpoint) as client:
        share = opened_up(client).shares[0]
    with opened(second.endpoint) as client:
        joined = "the second node has joined"
        wait_for(lambda: health_status(second.endpoint) == 503, what=joined, deadline_s=STANDBY_S)
        client.sys.submit_unseal_key(share)
        state: list[int | None] = [None]

        def settled() -> bool:
            state[0] = health_status(second.endpoint)
            return state[0] not in {None, 503}

        wait_for(settled, what="the second node is a standby", deadline_s=STANDBY_S)
        return state[0]
