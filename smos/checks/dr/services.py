"""DR-05: services after recovery. Only a positive answer is healthy; no answer, or an unclear one, never is."""

from typing import TYPE_CHECKING

from smos.target import Target
from smos.verdict import Finding, Judgement, fail, not_proven

if TYPE_CHECKING:
    from smos.drill.record import ServiceFacts, SmokeFacts


def judge_services(
    target: Target, services: "tuple[ServiceFacts, ...]", smoke: "tuple[SmokeFacts, ...]"
) -> Judgement:
    """Judge the answers of the declared services and of the declared application-level questions."""
    findings: list[Finding] = []
    seen = {service.name: service for service in services}
    for declared in target.services:
        answer = seen.get(declared.name)
        if answer is None or answer.healthy is None:
            detail = answer.detail if answer else "it was never asked"
            findings.append(
                not_proven(
                    (answer.code if answer else "") or "service-unknown",
                    f"{declared.name} ({declared.kind}): health is unknown: {detail}",
                    "make the service reachable for the drill, or stop declaring it in the target",
                )
            )
        elif not answer.healthy:
            findings.append(
                fail(
                    answer.code or "service-unhealthy",
                    f"{declared.name} ({declared.kind}) is not healthy: {answer.detail}",
                    "read the service's log; it must answer for itself before a recovery counts as done",
                )
            )
    asked = {question.name: question for question in smoke}
    for wanted in target.smoke:
        question = asked.get(wanted.name)
        if question is None or question.answer is None:
            detail = question.detail if question else "it was never asked"
            findings.append(
                not_proven(
                    "smoke-not-asked",
                    f'"{wanted.name}" could not be asked of {wanted.database}: {detail}',
                    "see DR-03 for why the database did not come back, or correct the query in the target",
                )
            )
        elif question.answer != question.expected:
            findings.append(
                fail(
                    "smoke-wrong-answer",
                    f'"{wanted.name}" ({wanted.database}): expected {question.expected}, got another answer',
                    "the restored data do not serve the application; compare with DR-03 and the source",
                )
            )
    healthy = sum(service.healthy is True for service in services)
    right = sum(question.answer == question.expected for question in smoke)
    return Judgement(
        tuple(findings),
        {
            "services_declared": len(target.services),
            "services_healthy": healthy,
            "services": [
                {"name": s.name, "kind": s.kind, "healthy": s.healthy, "detail": s.detail} for s in services
            ],
            "questions_declared": len(target.smoke),
            "questions_answered_right": right,
        },
    )
