"""What the facts about a provider mean: one finding each."""

from smos.mcp.probe import ProviderFacts
from smos.verdict import Finding, fail, not_proven, note


def judge_provider(facts: ProviderFacts) -> Finding:
    """Return the one finding on a provider. Only credentials that were used and accepted are shown to work."""
    return _of_secret(facts) or _of_answer(facts)


def _of_secret(facts: ProviderFacts) -> Finding | None:
    """Return the finding on what Vault holds; None where it holds all that a test needs."""
    where, write = f"{facts.name}: secret {facts.path}", f"smos vault write {facts.path}"
    if facts.secret == "none":  # noqa: S105  (a state)
        return note("no-secret", f"{facts.name}: holds no secret")
    if facts.secret == "absent":  # noqa: S105  (a state)
        return fail("credentials-absent", f"{where} is not in Vault", write)
    if facts.secret != "read":  # noqa: S105  (a state)
        text = f"{where} can't be read: {facts.problem}"
        return not_proven("credentials-unreadable", text, "use a token that may read it")
    if facts.missing:
        return fail("credentials-incomplete", f"{where} lacks {', '.join(facts.missing)}", write)
    return None


def _of_answer(facts: ProviderFacts) -> Finding:
    """Return the finding on what the provider said to complete credentials."""
    host = facts.host or "its address"
    if not facts.tested:
        text = f"{facts.name}: secret {facts.path} is complete; no request is known that would show that it works"
        return not_proven("no-test", text, "test it by hand, or add a `test` to the registry")
    if facts.status is None:
        text = f"{facts.name}: no answer from {host}: {facts.problem}"
        return not_proven("no-answer", text, "look at the address in the secret, and at the network")
    if facts.status in {401, 403} or (facts.status < 300 and facts.field is False):
        text = f"{facts.name}: {host} refused the credentials (HTTP {facts.status})"
        return fail("credentials-refused", text, f"renew them, then: smos vault write {facts.path}")
    if facts.status >= 300:
        text = f"{facts.name}: {host} answered HTTP {facts.status}"
        return not_proven("odd-answer", text, "look at the address, or try again later")
    return note("credentials-work", f"{facts.name}: {host} accepted the credentials")
