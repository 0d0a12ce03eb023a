"""VAULT-06: every role, path and verb of the access matrix, by request and by the server's own account."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from smos.vault.access import WORKERS, AccessFacts, Matrix, load_matrix, try_role
from smos.vault.model import VaultError
from smos.vault.verify.lab import VaultLab


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFacts:
    """What was expected and seen. silent: role to why nothing can be said about it. seconds: of all requests."""

    matrix: Matrix
    cells: tuple[AccessFacts, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def observe(lab: VaultLab) -> MatrixFacts:
    """Try the whole matrix; on a live Vault only what changes nothing."""
    matrix = load_matrix().model_copy(update={"kv_mount": lab.subject.kv_mount})
    silent: dict[str, str] = {}

    def one(role: str) -> tuple[AccessFacts, ...]:
        try:
            credential = lab.subject.credentials.get(role)
            return try_role(lab.endpoint, credential, matrix, role, harmless=lab.live)
        except VaultError as error:
            silent[role] = error.message
            return ()

    started = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        cells = tuple(cell for found in pool.map(one, matrix.roles) for cell in found)
    return MatrixFacts(
        matrix=matrix, cells=cells, silent=dict(sorted(silent.items())), seconds=time.monotonic() - started
    )
