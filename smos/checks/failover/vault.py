"""FAILOVER-07 and FAILOVER-08: a Vault cluster without its leader, and without a quorum."""

from collections.abc import Iterator, Sequence

from smos.failover.facts import LeaderLoss, Outcome, QuorumLoss, Tally
from smos.failover.recommend import distribution
from smos.verdict import Finding, Judgement, fail, not_proven

RAFT = "look at the raft configuration: three voters, storage on disks of their own; then at what lies before Vault"

LOST = 2
"""Nodes of three without which there is no quorum."""


def judge_leader(losses: Sequence[LeaderLoss], rto_s: float) -> Judgement:
    """Judge FAILOVER-07. rto_s: the objective, seconds."""
    findings: list[Finding] = []
    if not losses:
        findings.append(not_proven("leader-not-lost", "no leader was killed", "run the drill again"))
    for number, loss in enumerate(losses, 1):
        name = f"loss {number} of a leader ({loss.old})"
        if not loss.gone or loss.leaders == (loss.old,):
            findings.append(
                not_proven(
                    "leader-not-lost",
                    f"{name}: it still {'leads' if loss.old in loss.leaders else 'answered'} after it was killed",
                    "look how the drill kills the leader, then run it again",
                )
            )
            continue
        if loss.rto_s is None:
            findings.append(
                fail("vault-no-leader", f"{name}: no write was acknowledged afterwards: {loss.error}", RAFT)
            )
        else:
            findings += _kept(name, loss.tally)
            if loss.rto_s > rto_s:
                findings.append(
                    fail(
                        "vault-rto-exceeded",
                        f"{name}: {loss.rto_s:.3f} s until the first write, the objective is {rto_s:g} s",
                        "performance_multiplier = 1 makes elections quicker (default 5)",
                    )
                )
            if len(loss.leaders) != 1:
                said = ", ".join(loss.leaders) or "none"
                findings.append(
                    fail("vault-leaders", f"{name}: the nodes that call themselves the leader: {said}", RAFT)
                )
        if not loss.rejoined:
            findings.append(
                fail("vault-not-rejoined", f"{name}: it is no part of the cluster after its restart", RAFT)
            )
    spread = distribution(loss.rto_s for loss in losses if loss.rto_s is not None)
    return Judgement(
        tuple(findings),
        {
            "losses": [
                {
                    "old": loss.old,
                    "new": loss.new,
                    "first_write_s": loss.rto_s,
                    "acknowledged": loss.tally.acknowledged,
                    "unknown": loss.tally.unknown,
                    "unknown_present": loss.tally.unknown_present,
                    "lost": loss.tally.lost,
                }
                for loss in losses
            ],
            "median_s": spread.median if spread else None,
            "max_s": spread.maximum if spread else None,
        },
    )


def judge_quorum(loss: QuorumLoss) -> Judgement:
    """Judge FAILOVER-08."""
    findings: list[Finding] = []
    if not loss.attempts:
        findings.append(
            not_proven("quorum-not-tried", "no write was tried without a quorum", "run the drill again")
        )
    if loss.gone < LOST:
        findings.append(
            not_proven(
                "quorum-not-lost",
                f"{loss.gone} of {LOST} killed nodes were gone while writes were tried",
                "look how the drill kills the nodes, then run it again",
            )
        )
        return Judgement(tuple(findings))
    vague = [item for item in loss.attempts if item.outcome is Outcome.UNREACHABLE]
    if vague:
        findings.append(
            not_proven(
                "quorum-inconclusive",
                f"{len(vague)} of {len(loss.attempts)} writes were refused for another reason: {vague[0].detail}",
                "look at the token and the mount that the drill writes with",
            )
        )
    accepted = sum(item.outcome is Outcome.ACCEPTED for item in loss.attempts)
    if accepted:
        findings.append(
            fail(
                "acknowledged-without-quorum",
                f"{accepted} of {len(loss.attempts)} writes were acknowledged with two of three nodes gone",
                RAFT,
            )
        )
    if not loss.recovered:
        findings.append(
            fail("vault-not-recovered", f"the cluster did not come back with its nodes: {loss.error}", RAFT)
        )
    else:
        findings += _kept("loss of the quorum", loss.tally)
    return Judgement(
        tuple(findings),
        {
            "attempts": [item.outcome.value for item in loss.attempts],
            "acknowledged": loss.tally.acknowledged,
            "unknown": loss.tally.unknown,
            "unknown_present": loss.tally.unknown_present,
            "lost": loss.tally.lost,
        },
    )


def _kept(name: str, tally: Tally) -> Iterator[Finding]:
    if not tally.acknowledged:
        yield not_proven("nothing-acknowledged", f"{name}: no write was acknowledged", RAFT)
    if tally.lost:
        words = ", ".join(tally.examples.get("lost", ()))
        yield fail(
            "vault-acknowledged-lost",
            f"{name}: {tally.lost} of {tally.acknowledged} acknowledged writes are gone, for instance {words}",
            RAFT,
        )
    if tally.altered:
        yield fail("vault-altered", f"{name}: {tally.altered} secrets differ from what was written", RAFT)
    if tally.strangers:
        yield fail(
            "vault-never-written", f"{name}: {tally.strangers} secrets are there that nobody wrote", RAFT
        )
