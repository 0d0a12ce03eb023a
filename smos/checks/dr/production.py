"""What a live drill saw of production, judged: pure functions from facts to findings.

How the backups came over concerns every check; host and certificates DR-05; Vault where it stands DR-06.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from smos.checks.dr.services import judge_services
from smos.checks.dr.vault_health import judge_health
from smos.live.errors import REMEDIES
from smos.live.facts import CertificateFacts, FetchFacts, HostFacts, LiveFacts
from smos.target import Target
from smos.verdict import Finding, Judgement, Problem, fail, not_proven, note

if TYPE_CHECKING:
    from smos.drill.record import ServiceFacts, SmokeFacts

MIB = 1 << 20


def joined(*judgements: Judgement) -> Judgement:
    """Return one judgement that holds the findings and the facts of several."""
    facts: dict[str, Any] = {}
    for one in judgements:
        facts |= one.facts
    return Judgement(tuple(item for one in judgements for item in one.findings), facts)


def of_newest(live: LiveFacts | None, judge: Callable[[], Judgement]) -> Judgement:
    """Judge what needs the newest set; where it was not fetched as it is, nothing is said about the backups."""
    fetch = live.fetch if live else None
    if fetch is not None and (blocked := _blocked(fetch)) is not None:
        return Judgement((_not_fetched(blocked, "the newest backup"),), {"fetch": _shown(fetch)})
    return judge()


def of_all(target: Target, live: LiveFacts | None, judge: Callable[[], Judgement]) -> Judgement:
    """Judge what needs every set; adds what was seen while they were fetched."""
    fetch = live.fetch if live else None
    if fetch is None:
        return judge()
    newest = _blocked(fetch)
    blocked = newest or fetch.later
    if blocked is not None:
        what = "the newest backup" if newest else "every backup"
        return Judgement((_not_fetched(blocked, what),), {"fetch": _shown(fetch)})
    return joined(judge(), judge_fetch(target, fetch))


def of_services(
    target: Target,
    live: LiveFacts | None,
    services: "tuple[ServiceFacts, ...]",
    smoke: "tuple[SmokeFacts, ...]",
) -> Judgement:
    """Judge DR-05: services and questions in the sandbox, services and host of production."""
    blocked = _blocked(live.fetch) if live and live.fetch else None
    if blocked is None:
        seen = judge_services(target, services, smoke)
    else:  # the sandbox holds nothing, and that is no service's fault
        of_production = tuple(item for item in target.services if item.kind not in {"postgres", "vault"})
        narrowed = target.model_copy(update={"services": of_production, "smoke": ()})
        seen = joined(
            Judgement((_not_fetched(blocked, "services in the sandbox"),)),
            judge_services(narrowed, services, ()),
        )
    return joined(seen, judge_production(target, live))


def judge_fetch(target: Target, fetch: FetchFacts) -> Judgement:
    """Judge what was seen while backups were fetched, besides that they came over."""
    findings: list[Finding] = []
    if fetch.changed:
        findings.append(
            not_proven(
                "source-changed",
                f"These files changed while they were read: {', '.join(fetch.changed[:10])}",
                REMEDIES["source-changed"],
            )
        )
    findings += [
        not_proven("special-file", item.detail, "move what is no backup out of the backup directory")
        for item in fetch.notes
    ]
    if (
        target.backups.source is not None
        and target.backups.source.kind == "host"
        and not target.backups.offsite
    ):
        findings.append(
            note(
                "backups-on-the-host",
                "The backups lie on the host that they are of: a disaster takes both. Name an off-site copy as"
                " backups.offsite, or as the source",
            )
        )
    return Judgement(tuple(findings), {"fetch": _shown(fetch)})


def judge_production(target: Target, live: LiveFacts | None) -> Judgement:
    """Judge host and certificates. live: None where the drill did not look at production."""
    if target.host is None and live is None:
        return Judgement(())
    if live is None:
        missing = not_proven(
            "host-not-looked-at",
            "The target names a production host, and this drill did not look at it",
            "run it with --provision live, or auto",
        )
        return Judgement((missing,))
    of_certificates = Judgement(
        tuple(item for one in live.certificates if (item := _certificate(one)) is not None),
        {"certificates": [asdict(one) for one in live.certificates]},
    )
    if target.host is None:
        return of_certificates
    return joined(_host(target, live.host), of_certificates)


def judge_vault_in_place(live: LiveFacts | None) -> Judgement:
    """Judge the Vault at the target's address, beside the one that came back in the sandbox."""
    if live is None or live.vault is None:
        return Judgement(())
    expiring = _certificate(live.vault_certificate) if live.vault_certificate else None
    seen = judge_health(live.vault)
    return Judgement(
        (*seen.findings, *((expiring,) if expiring else ())),
        {
            "vault_in_place": seen.facts,
            "vault_certificate": asdict(live.vault_certificate) if live.vault_certificate else None,
        },
    )


def _blocked(fetch: FetchFacts) -> Problem | None:
    """Say why what was restored is not the newest backup as it lies there; None where it is."""
    if fetch.problem is None and fetch.newest_changed:
        # A copy of two minds is damaged by the reading, perhaps: the backup itself can't be blamed for it.
        names = ", ".join(fetch.newest_changed[:10])
        return Problem("source-changed", f"these files of it changed while they were read: {names}")
    return fetch.problem


def _not_fetched(problem: Problem, what: str) -> Finding:
    return not_proven(
        problem.code,
        f"Nothing is known of {what}: {problem.detail}",
        REMEDIES.get(problem.code, "see the message"),
    )


def _shown(fetch: FetchFacts) -> dict[str, Any]:
    rate = fetch.bytes_per_s
    return asdict(fetch) | {"bytes_per_s": rate and round(rate)}


def _certificate(facts: CertificateFacts) -> Finding | None:
    if facts.days_left >= facts.due_days:
        return None
    return fail(
        "certificate-expires-soon",
        f"{facts.name}: the certificate of {facts.url} expires in {facts.days_left:.1f} days"
        f" (fewer than {facts.due_days})",
        "renew it, and find out why nothing has done so by itself",
    )


def _host(target: Target, facts: HostFacts | None) -> Judgement:
    assert target.host is not None  # noqa: S101  (the caller asked; narrows the type)
    if facts is None:
        unseen = not_proven("host-not-looked-at", "The host was not looked at", "see the drill's log")
        return Judgement((unseen,))
    limits = target.host.limits
    findings = [
        not_proven(item.code, f"{facts.address}: {item.detail}", REMEDIES.get(item.code, "see the message"))
        for item in facts.problems
    ]
    if facts.clock_offset_s is not None:
        off = abs(facts.clock_offset_s) - facts.clock_uncertainty_s
        if off > limits.clock_skew_seconds:
            findings.append(
                fail(
                    "clock-skew",
                    f"The clock of {facts.address} is {facts.clock_offset_s:+.1f} s off"
                    f" (± {facts.clock_uncertainty_s:.1f} s)",
                    "let the host keep time (systemd-timesyncd, chrony); stamps of backups and of tokens depend on it",
                )
            )
    if facts.memory_total and facts.memory_available is not None:
        percent = 100 * facts.memory_available / facts.memory_total
        if percent < limits.memory_available_percent:
            findings.append(
                fail(
                    "memory-low",
                    f"{facts.address} has {facts.memory_available // MIB} MiB of memory available ({percent:.1f} %)",
                    "find out what takes it before the kernel ends a service",
                )
            )
    findings += _rooms(target, facts)
    return Judgement(tuple(findings), {"host": asdict(facts)})


def _rooms(target: Target, facts: HostFacts) -> list[Finding]:
    assert target.host is not None  # noqa: S101
    limits = target.host.limits
    findings = []
    for room in {room.mount: room for room in facts.rooms}.values():
        used = 100 * (1 - room.available / room.total)
        if used > limits.disk_used_percent:
            findings.append(
                fail(
                    "disk-nearly-full",
                    f"{facts.address}: {room.mount} is {used:.1f} % full, {room.available // MIB} MiB are left",
                    "make room: the next backup may not fit, and databases stop when it is full",
                )
            )
        if room.inodes_used_percent is not None and room.inodes_used_percent > limits.inodes_used_percent:
            findings.append(
                fail(
                    "inodes-nearly-used",
                    f"{facts.address}: {room.inodes_used_percent:.1f} % of the inodes of {room.mount} are used",
                    "remove what makes so many small files: no new one can be made when all are used",
                )
            )
    return findings
