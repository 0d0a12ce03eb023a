"""Somebody's own stack: addresses from the target, credentials from a file that nobody else may read."""

import re

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from smos.observability.verify.probe import ObservabilityError
from smos.observability.verify.subject import Subject
from smos.provision.telemetry import ClickHouseEndpoint, CollectorEndpoint
from smos.target import ObservabilityTarget
from smos.vault.model import VaultError
from smos.vault.verify.live import read_private

_SAFE = re.compile(r"https://|http://(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?(?:/|$)")
"""Addresses to which a password may be sent."""


class _Credentials(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    user: str
    password: SecretStr


def live_subject(target: ObservabilityTarget) -> Subject:
    """Return the stack that the target names. Raises ObservabilityError, whose code says what is missing."""
    if target.clickhouse is None or not (target.otlp_grpc and target.otlp_http):
        raise ObservabilityError(
            "The target does not name the stack to connect to",
            code="observability-no-address",
            remedy="set otlp_grpc, otlp_http and clickhouse below `observability:` (docs/observability.md)",
        )
    if not _SAFE.match(target.clickhouse):
        raise ObservabilityError(
            "observability.clickhouse must start with https://: a password is sent there",
            code="observability-no-tls",
            remedy="give the address with TLS; plain HTTP is taken on loopback only",
        )
    if target.clickhouse_credentials is None:
        raise ObservabilityError(
            "The target names no credentials for ClickHouse",
            code="observability-no-credentials",
            remedy='set clickhouse_credentials to a file (0600): {"user": "…", "password": "…"}',
        )
    try:
        given = _Credentials.model_validate_json(
            read_private(target.clickhouse_credentials, "observability.clickhouse_credentials")
        )
    except ValidationError:
        raise ObservabilityError(
            f"{target.clickhouse_credentials} holds no credentials that can be understood",
            code="observability-no-credentials",
            remedy='write {"user": "…", "password": "…"}',
        ) from None
    except VaultError as error:  # the reader is the Vault suite's; its words fit, its codes do not
        raise ObservabilityError(
            error.message, code="observability-no-credentials", remedy=error.remedy
        ) from None
    return Subject(
        collector=CollectorEndpoint(
            grpc=target.otlp_grpc, http=target.otlp_http.rstrip("/"), metrics=target.collector_metrics or ""
        ),
        clickhouse=ClickHouseEndpoint(
            url=target.clickhouse.rstrip("/"),
            user=given.user,
            password=given.password.get_secret_value(),
            database=target.clickhouse_database,
        ),
        retention_h=target.retention_hours,
        live=True,
    )
