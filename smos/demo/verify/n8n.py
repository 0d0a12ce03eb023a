"""Asks the demo's n8n for its health: /healthz (the process answers) and /healthz/readiness (its database is there)."""

import httpx

from smos.demo.verify.facts import N8nFacts

ASK_S = 10


def ask_n8n(url: str | None) -> N8nFacts:
    """Ask; what does not answer within ten seconds is unknown, never healthy."""
    if url is None:
        return N8nFacts(url="", healthy=None, ready=None, detail="no address of it is known")
    answers: list[bool | None] = []
    details = []
    with httpx.Client(base_url=url, timeout=ASK_S, trust_env=False, follow_redirects=False) as client:
        for path in ("/healthz", "/healthz/readiness"):
            try:
                answer = client.get(path)
            except httpx.HTTPError as error:
                answers.append(None)
                details.append(f"{path}: {type(error).__name__}")
                continue
            answers.append(answer.status_code == httpx.codes.OK and _says_ok(answer))
            details.append(f"{path}: {answer.status_code}")
    return N8nFacts(url=url, healthy=answers[0], ready=answers[1], detail="; ".join(details))


def _says_ok(answer: httpx.Response) -> bool:
    """Tell whether it is n8n that answers: any web server has a page with status 200."""
    try:
        body = answer.json()
    except ValueError:
        return False
    return isinstance(body, dict) and body.get("status") == "ok"
