"""Run one check of the Vault suite: observe, then judge. The suite and its negative controls both come here."""

from importlib import import_module

import requests

from smos.errors import SmosError
from smos.vault.model import CLIENT_ERRORS, VaultError, explain, opened
from smos.vault.verify.lab import VaultLab
from smos.verdict import Finding, Judgement, not_proven

ANSWER_S = 10.0
"""Seconds within which a live Vault says whether it is sealed; it does in some milliseconds."""
NARROWED = "vault-narrowed"
AREAS = {
    "VAULT-01": "transit",
    "VAULT-02": "lifecycle",
    "VAULT-03": "signatures",
    "VAULT-04": "datakeys",
    "VAULT-05": "kv",
    "VAULT-06": "access",
    "VAULT-07": "tokens",
    "VAULT-08": "audit",
    "VAULT-09": "seal",
    "VAULT-10": "autounseal",
    "VAULT-11": "telemetry",
    "VAULT-12": "hardening",
    "VAULT-13": "snapshot",
}
"""Check to its area: `observe(lab)` in smos/vault/verify, `judge(facts)` in smos/checks/vault."""


def exercise(check_id: str, lab: VaultLab) -> Judgement:
    """Run one check on what `lab` hands out. What stops the driver leaves the check unproven."""
    area = AREAS[check_id]
    observe = import_module(f"smos.vault.verify.{area}").observe
    judge = import_module(f"smos.checks.vault.{area}").judge
    try:
        if lab.live and (why := _hangs(lab)):
            return _stopped("vault-no-answer", why, "look at its load, and at what lies between here and it")
        facts = observe(lab)
    except VaultError as error:
        return _stopped(error.code, error.message, error.remedy)
    except SmosError as error:
        return _stopped("vault-stopped", error.message, error.remedy)
    except CLIENT_ERRORS as error:
        return _stopped("vault-stopped", explain(error), "")
    judgement: Judgement = judge(facts)
    if not lab.narrowed:
        return judgement
    # Parts may share claims, so that a judge need not miss what was left out: it is said here, for every check.
    return Judgement((*judgement.findings, _narrowed(lab)), judgement.facts)


def _narrowed(lab: VaultLab) -> Finding:
    """Say which part of the course was gone through; FAIL outranks it, so that a fault stays detected."""
    words = "its first server" if lab.subject_alone else ", ".join(sorted(lab.parts or lab.paths or ()))
    return not_proven(
        NARROWED,
        f"The check was narrowed to {words or 'what every course begins with'}: the rest was not looked at",
        "run the whole check; only negative controls narrow one",
    )


def _hangs(lab: VaultLab) -> str:
    """Say that a live Vault takes requests and answers none: every one of hundreds would be waited for."""
    with opened(lab.endpoint) as client:
        try:
            client.adapter.get("/v1/sys/seal-status", timeout=ANSWER_S)
        except requests.exceptions.Timeout:
            return f"Vault did not answer within {ANSWER_S:g} s"
        except CLIENT_ERRORS:  # an answer, or none at all: the check says what it is worth
            return ""
    return ""


def _stopped(code: str, message: str, remedy: str) -> Judgement:
    remedy = remedy or "look at Vault's log and at the rights of the token; then run the check again"
    return Judgement((not_proven(code, f"The check could not be made: {message}", remedy),))
