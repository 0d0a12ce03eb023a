"""One observation of the Vault suite: what was asked, which status came back, whether the content was right.

A fact and no judgement: what it should have been is in the rules of the check (smos/checks/vault/rules.py). So a
claim that was never tried has no probe, which a judge sees, and a refusal counts only with the status of a refusal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import hvac
import requests

from smos.vault.model import explain, status_of

NOT_ASKED = "not asked"
"""How `seen` starts where a request could not even be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One answer. claim: the key of the sub-claim that it belongs to.

    status: HTTP status of the deciding request (200 for every success, also 204); None: no answer, or not asked.
    holds: what the driver compared in the answer (bytes equal, no plaintext in it …); None: nothing was compared.
    seen: what was seen, in words; never a secret, never a token, never plaintext.
    """

    claim: str
    status: int | None = None
    holds: bool | None = None
    seen: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFacts:
    """All observations of one check, in order; details: further facts for the report (JSON)."""

    probes: tuple[Probe, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


Asked = tuple[int | None, Any, str]
"""Status, decoded answer (None without one), the server's reason for a refusal."""


def ask(request: Callable[[], Any]) -> Asked:
    """Make one request; an answer with an error, and no answer, are facts here and no exceptions."""
    try:
        return 200, request(), ""
    except hvac.exceptions.VaultError as error:
        return status_of(error) or None, None, explain(error)
    except requests.exceptions.RequestException as error:
        return None, None, explain(error)


def probe(
    claim: str, request: Callable[[], Any], holds: Callable[[Any], bool] | None = None, what: str = ""
) -> Probe:
    """Make one request and record it. holds: compares the answer of a success (an ill-formed answer holds not)."""
    try:
        status, answer, reason = ask(request)
        held = bool(holds(answer)) if status == 200 and holds is not None else None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        status, held, reason = 200, False, f"ill-formed answer ({type(error).__name__})"
    return Probe(
        claim=claim,
        status=status,
        holds=held,
        seen=": ".join(part for part in (what, " ".join(reason.split())) if part),
    )
