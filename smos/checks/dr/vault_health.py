"""What a live Vault's own answer means (F71): every way to be unwell has its own message."""

from dataclasses import asdict

from smos.vault.health import HealthFacts, HealthState
from smos.verdict import Finding, Judgement, Verdict

STATES: dict[HealthState, tuple[Verdict, str, str]] = {
    HealthState.SEALED: (
        Verdict.FAIL,
        "is sealed: it answers and gives out no secret",
        "unseal it with a threshold of key shares; find out why it sealed itself",
    ),
    HealthState.UNINITIALIZED: (
        Verdict.FAIL,
        "was never initialised",
        "recover it from its snapshot, or set it up with `smos init`",
    ),
    HealthState.STANDBY: (
        Verdict.NOT_PROVEN,
        "is a standby: healthy itself, but it shows nothing about the active node",
        "give the address of the active node or of the load balancer",
    ),
    HealthState.PERFORMANCE_STANDBY: (
        Verdict.NOT_PROVEN,
        "is a performance standby: it shows nothing about the active node",
        "give the address of the active node or of the load balancer",
    ),
    HealthState.DR_SECONDARY: (
        Verdict.NOT_PROVEN,
        "is a disaster-recovery secondary: it serves nobody until it is promoted",
        "give the address of the primary cluster",
    ),
    HealthState.UNREACHABLE: (
        Verdict.NOT_PROVEN,
        "is unreachable",
        "check address, port, firewall and whether the server runs",
    ),
    HealthState.TIMED_OUT: (
        Verdict.NOT_PROVEN,
        "takes connections and does not answer in time",
        "look at its load, its storage and its audit devices: a blocked audit device blocks every request",
    ),
    HealthState.CERTIFICATE_EXPIRED: (
        Verdict.FAIL,
        "shows a certificate that is not valid today",
        "renew the certificate; is the clock right?",
    ),
    HealthState.CERTIFICATE_NAME: (
        Verdict.FAIL,
        "shows a certificate of another name",
        "use the name in the certificate, or issue one for this name",
    ),
    HealthState.CERTIFICATE_UNTRUSTED: (
        Verdict.FAIL,
        "shows a certificate of an authority that is not trusted here",
        "give the authority's PEM file; never switch verification off",
    ),
    HealthState.NO_TLS: (
        Verdict.FAIL,
        "and the address disagree on TLS",
        "use https:// where the server speaks TLS, and let it speak TLS outside loopback",
    ),
    HealthState.TLS_FAILED: (
        Verdict.NOT_PROVEN,
        "can't be asked over TLS",
        "look at its TLS versions and the CA file",
    ),
    HealthState.NOT_VAULT: (
        Verdict.NOT_PROVEN,
        "is no Vault: something else answers at this address",
        "check the address, and what the proxy in front of it does",
    ),
}


def judge_health(facts: HealthFacts) -> Judgement:
    """Judge a live Vault's answer: only "initialised, unsealed, active" is healthy. Codes: vault-<state>."""
    shown = asdict(facts) | {"state": str(facts.state)}
    if facts.state is HealthState.ACTIVE:
        return Judgement((), shown)
    verdict, sentence, remedy = STATES[facts.state]
    detail = f" ({facts.detail})" if facts.detail else ""
    finding = Finding(f"vault-{facts.state}", f"The Vault at {facts.url} {sentence}{detail}", remedy, verdict)
    return Judgement((finding,), shown)
