"""The target: what is verified. One frozen, validated model, read once and passed down.

Precedence of every setting: flag > environment (`SMOS_*`) > `smos.yml` in the working directory > default.
This module is the only one that reads the environment for settings. docs/target.md shows every key.
"""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smos.errors import TargetError
from smos.live.declared import HostTarget, Service, Source, Store, absolute
from smos.paths import require_regular
from smos.physical.declared import Physical

DEFAULT_FILE = Path("smos.yml")
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
"""No control characters: names are shown on terminals."""
Sql = Annotated[str, Field(min_length=1, max_length=65_536)]
Hours = Annotated[float, Field(gt=0, le=24 * 366)]


class Scope(StrEnum):
    """What a report speaks about. A self-test never satisfies a control or an objective of production."""

    SELF_TEST = "self-test"
    PRODUCTION = "production"


class Provision(StrEnum):
    """How the target's servers come to exist."""

    AUTO = "auto"
    EMBEDDED = "embedded"
    DOCKER = "docker"
    LIVE = "live"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Objectives(_Model):
    """What the business asks for. Defaults: RTO 4 hours, RPO 24 hours."""

    rto_hours: Hours = 4
    rpo_hours: Hours = 24

    @property
    def rto_s(self) -> float:
        """RTO objective in seconds."""
        return self.rto_hours * 3600

    @property
    def rpo_s(self) -> float:
        """RPO objective in seconds."""
        return self.rpo_hours * 3600


class Schedule(_Model):
    """When backups are taken and how long they are kept."""

    period_hours: Hours = 24
    slack_hours: Hours = 2
    """How much later than the period a backup may be before a run counts as missing."""
    retention_days: Annotated[int, Field(ge=1, le=3660)] = 7
    """A backup older than this (plus the slack) should have been pruned; one younger should still exist."""
    timezone: str = "UTC"
    """Zone of the time stamps in the names that the old scripts gave (they used the host's local time)."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(
                f"unknown time zone {value!r}; use an IANA name such as America/Santiago"
            ) from error
        return value


class Backups(_Model):
    """Where the backups lie and what is expected of them."""

    directory: Path | None = None
    """None, and no `source`: the built-in source is provisioned and backed up first."""
    source: Source | None = None
    """Where else they lie: on the host, in a bucket, behind rclone. They are fetched into the sandbox, read only."""
    schedule: Schedule = Schedule()
    offsite: Path | None = None
    """A second copy that must hold the same bytes, where the target names one."""
    encrypted: bool = False
    """Plain text where this is true is a failure."""
    manifest_public_key: Path | None = None
    """Ed25519 public key (PEM) that the manifests must be signed with; kept away from the backups."""
    minimum_bytes: Annotated[int, Field(ge=0)] = 256
    """A set smaller than this, decompressed, holds nothing."""
    collapse_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Newest set smaller than this share of the median of the earlier ones: a size collapse."""


class Database(_Model):
    """A database that must come back."""

    name: Name
    extensions: tuple[Name, ...] = ()


class Smoke(_Model):
    """An application-level question to the restored database, with the one value that is right."""

    name: Name
    database: Name
    sql: Sql
    expect: str | int | float | bool


class FileReference(_Model):
    """A rule "every file that this query names exists in that volume"."""

    name: Name
    database: Name
    sql: Sql
    """Must return one column: paths relative to `prefix` inside the volume."""
    volume: Name
    prefix: str = ""


class VaultRole(_Model):
    """One login that must work after recovery: what it may read, and what it must be refused."""

    name: Name
    allowed: Name
    denied: Name


class VaultTarget(_Model):
    """The Vault that must come back first; with an address, also one that can be verified where it stands."""

    escrow: Path | None = None
    """JSON file (0600), kept away from the backups: unseal key shares, one AppRole credential per role."""
    kv_mount: Name = "smarteros"
    transit_key: Name = "smarteros-secrets"
    roles: tuple[VaultRole, ...] = ()
    rotation_hours: Hours = 720
    """How often the transit key is to rotate by itself."""
    token_ttl_hours: Hours = 1
    """Longest life of the token that a role logs in for."""
    address: Name | None = None
    """`https://…`: the Vault that `--provision live` speaks about."""
    namespace: Name | None = None
    ca_file: Path | None = None
    """PEM file of the authority that signed its certificate; None: the system's."""
    token_file: Path | None = None
    """0600: a token with the policy compose/vault/verify.hcl."""
    credentials: Path | None = None
    """JSON file (0600): `{"approles": {"ci": {"role_id": …, "secret_id": …}}}`."""
    seal: Literal["shamir", "auto"] = "shamir"
    """What a live Vault must be unsealed by: its key shares, or by itself (another Vault, a KMS: VAULT-10)."""
    scratch_path: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{2,62}$")] | None = None
    """Mounts whose names start so may be made (they are removed); None: nothing is written to it."""


class ObservabilityTarget(_Model):
    """The telemetry stack; with addresses, also one that can be verified where it stands (`--provision live`)."""

    retention_hours: Hours = 72
    """How long telemetry is kept, in every table."""
    otlp_grpc: Name | None = None
    """`host:port` of OTLP/gRPC; `https://host:port` with TLS."""
    otlp_http: Name | None = None
    """Base URL of OTLP/HTTP, without `/v1/traces`."""
    collector_metrics: Name | None = None
    """URL of the collector's own metrics (Prometheus text)."""
    clickhouse: Name | None = None
    """Base URL of ClickHouse's HTTP interface."""
    clickhouse_database: Name = "otel"
    clickhouse_credentials: Path | None = None
    """JSON file (0600): `{"user": "…", "password": "…"}`; the user may read the database."""
    grafana: Name | None = None
    """Base URL of Grafana."""
    grafana_token_file: Path | None = None
    """0600: a service account's token (Viewer)."""
    sentry: Name | None = None
    """Base URL of a Bugsink or Sentry."""
    sentry_credentials: Path | None = None
    """JSON file (0600): `{"dsn": "…", "token": "…", "project": "…"}`; of a Sentry: `organisation/project`."""


OBSERVABILITY_FILES = ("clickhouse_credentials", "grafana_token_file", "sentry_credentials")


class Evidence(_Model):
    """Who signs what a run leaves, who approved it, how long it counts, and in which language people read it."""

    signing_key: str | None = None
    """Path of an Ed25519 private key (PEM, 0600), or `hv:NAME`: a key of a signing Vault's transit engine, which
    VAULT_ADDR and VAULT_TOKEN name. None: nothing is signed."""
    public_key: Path | None = None
    """Public key (PEM) that `smos evidence verify` pins; kept by whoever verifies."""
    approver: Name | None = None
    """Who approved that this run takes place."""
    timestamp_url: Annotated[str, Field(pattern=r"^https?://[^\s/@]+(/\S*)?$")] | None = None
    """RFC 3161 time-stamping authority. None: the statement carries only its own clock."""
    valid_days: Annotated[int, Field(ge=1, le=3660)] = 92
    """How long a run counts as evidence: a quarter."""
    store: Store | None = None
    """Where history and evidence are taken from before a drill and brought after it: runners forget."""
    language: Literal["en", "es"] | None = None
    """Language of evidence.html. None: as LANG says, else English."""

    @property
    def key_file(self) -> Path | None:
        """The signing key's path, where it is a file."""
        if self.signing_key is None or self.signing_key.startswith("hv:"):
            return None
        return Path(self.signing_key)


class Limits(_Model):
    """Bounds that untrusted backups can't exceed in the sandbox."""

    bytes: Annotated[int, Field(gt=0)] = 64 * 2**30
    """Most bytes that one restored volume or decompressed artifact may take."""
    files: Annotated[int, Field(gt=0)] = 2_000_000
    ratio: Annotated[float, Field(gt=1)] = 2_000
    """Highest expansion of an artifact, decompressed bytes to stored bytes (beyond the first 16 MiB)."""
    restore_seconds: Annotated[float, Field(gt=0)] = 4 * 3600
    """Most seconds that the restore of one database may take before it counts as hung."""
    fetch_seconds: Annotated[float, Field(gt=0)] = 4 * 3600
    """Most seconds that fetching the newest set may take, and then fetching all others."""
    stall_seconds: Annotated[float, Field(gt=0)] = 60
    """Most seconds without a byte before a stream is taken up again."""


class Target(_Model):
    """Everything that is declared, and so required."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: Name
    scope: Scope = Scope.PRODUCTION
    objectives: Objectives = Objectives()
    backups: Backups = Backups()
    databases: tuple[Database, ...] = ()
    volumes: tuple[Name, ...] = ()
    vault: VaultTarget | None = None
    observability: ObservabilityTarget | None = None
    host: HostTarget | None = None
    """The production host, for `--provision live`: looked at, never changed."""
    physical: Physical | None = None
    """Physical backups of one cluster, for `pytest -m pitr`; None: the built-in source's."""
    services: tuple[Service, ...] = ()
    smoke: tuple[Smoke, ...] = ()
    references: tuple[FileReference, ...] = ()
    limits: Limits = Limits()
    evidence: Evidence = Evidence()
    derived: bool = False
    """True where nobody declared a target: what the newest backup set holds is then taken as the wish list,
    and the report says that completeness can't be proven."""

    @property
    def database_names(self) -> tuple[str, ...]:
        """Names of the declared databases."""
        return tuple(database.name for database in self.databases)


class Telemetry(_Model):
    """Where a drill's own trace and metrics go; OpenTelemetry's standard variables name it."""

    endpoint: str | None = Field(default=None, repr=False)
    """OTEL_EXPORTER_OTLP_ENDPOINT. None: nothing is sent."""
    protocol: Literal["grpc", "http/protobuf"] = "http/protobuf"
    """OTEL_EXPORTER_OTLP_PROTOCOL."""


class Settings(_Model):
    """What a run was asked to do, after precedence was applied."""

    target: Target | None
    """None: the built-in self-test, or what `--backups DIR` holds."""
    target_file: Path | None
    provision: Provision
    backups: Path | None
    reports: Path
    evidence: Evidence = Evidence()
    dsn: str | None = None
    """The database that `-m rls` probes: a libpq string or URI without a password."""
    telemetry: Telemetry = Telemetry()
    ssh_agent: Path | None = None
    """SSH_AUTH_SOCK: the agent that OpenSSH asks for keys."""

    @property
    def live(self) -> bool:
        """Whether production itself is looked at: asked for, or the target names what only that reaches."""
        named = self.target is not None and (self.target.host or self.target.backups.source)
        return self.provision is Provision.LIVE or (self.provision is Provision.AUTO and bool(named))


def load_target(path: Path) -> Target:
    """Read and validate a target file. Relative paths in it are taken from the file's own folder.

    Raises TargetError, which names the key and the remedy.
    """
    try:
        require_regular(path)
        data = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetError(
            f"The target file {path} can't be read: {error.strerror}",
            remedy="give the path of a readable YAML file with --target; docs/target.md shows one",
        ) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise TargetError(
            f"The target file {path} is not valid YAML: {error}",
            remedy="mend the line named above; docs/target.md shows a whole file",
        ) from error
    if not isinstance(data, Mapping):
        raise TargetError(
            f"The target file {path} holds no mapping", remedy="start it with `schema: 1` and `name: …`"
        )
    target = parse_target(data, origin=str(path))
    return _absolute(target, path.resolve().parent)


def parse_target(data: Mapping[str, Any], *, origin: str) -> Target:
    """Validate `data` as a target; `origin` names it in errors. Raises TargetError."""
    try:
        return Target.model_validate(dict(data))
    except ValidationError as error:
        lines = []
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"]) or "(the whole file)"
            if item["type"] == "extra_forbidden":
                lines.append(f"  {key}: unknown key; remove it or correct its spelling")
            else:
                lines.append(f"  {key}: {item['msg']}")
        raise TargetError(
            f"{origin} is not a valid target:\n" + "\n".join(lines),
            remedy="correct these keys; docs/target.md lists every key with its default",
        ) from error


def require_live(settings: Settings) -> None:
    """Raise TargetError where production is to be looked at and nothing says where it is, or the other way round."""
    target = settings.target
    if settings.live and (
        target is None
        or (target.backups.directory is None and target.backups.source is None and settings.backups is None)
    ):
        raise TargetError(
            "--provision live needs a target that says where production's backups lie",
            remedy="name backups.source (or backups.directory) in the file of --target;"
            " targets/production.example.yml is a whole one",
        )
    if target is not None and not settings.live and target.backups.source and settings.backups is None:
        raise TargetError(
            f"The backups of {target.name} lie elsewhere, and --provision {settings.provision} does not go there",
            remedy="use --provision live (or auto), or give a local copy with --backups DIR",
        )
    source = target.backups.source if target is not None else None
    if target is not None and source is not None and source.kind == "host" and target.host is None:
        raise TargetError(
            "backups.source is on the host, and the target names none",
            remedy="add `host: {address: ssh://…}`",
        )


def check_places(target: Target) -> Target:
    """Return the target. Raises TargetError where two of its places must lie apart and don't."""
    backups = target.backups
    if backups.directory is None:
        return target
    directory = backups.directory.resolve()
    if backups.offsite is not None and backups.offsite.resolve() == directory:
        raise TargetError(
            "backups.offsite is the backup directory itself: one copy is no second one",
            remedy="name the directory of the other copy, or leave the key out",
        )
    escrow = target.vault.escrow if target.vault else None
    if escrow is not None and escrow.resolve().is_relative_to(directory):
        raise TargetError(
            "vault.escrow lies in the backup directory: who has the backups would have the keys",
            remedy="keep the escrow away from the backups, and rotate what it holds",
        )
    key = target.evidence.key_file
    if key is not None and key.resolve().is_relative_to(directory):
        raise TargetError(
            "evidence.signing_key lies in the backup directory: who has the backups could sign in your name",
            remedy="keep the key away from what it speaks about, and replace it",
        )
    return target


def _absolute(target: Target, base: Path) -> Target:
    def fix(path: Path | None) -> Path | None:
        return None if path is None else base / path.expanduser()

    backups = target.backups.model_copy(
        update={
            "directory": fix(target.backups.directory),
            "offsite": fix(target.backups.offsite),
            "manifest_public_key": fix(target.backups.manifest_public_key),
            "source": target.backups.source and absolute(target.backups.source, base),
        }
    )
    places = ("escrow", "ca_file", "token_file", "credentials")
    vault = target.vault and target.vault.model_copy(
        update={place: fix(getattr(target.vault, place)) for place in places}
    )
    telemetry = target.observability and target.observability.model_copy(
        update={place: fix(getattr(target.observability, place)) for place in OBSERVABILITY_FILES}
    )
    key = target.evidence.key_file
    evidence = target.evidence.model_copy(
        update={
            "signing_key": target.evidence.signing_key if key is None else str(fix(key)),
            "public_key": fix(target.evidence.public_key),
            "store": target.evidence.store and absolute(target.evidence.store, base),
        }
    )
    return target.model_copy(
        update={
            "backups": backups,
            "vault": vault,
            "observability": telemetry,
            "evidence": evidence,
            "host": target.host and absolute(target.host, base),
            "physical": target.physical and absolute(target.physical, base),
            "services": tuple(absolute(service, base) for service in target.services),
        }
    )


def resolve_settings(
    *,
    target: str | None = None,
    provision: str | None = None,
    backups: str | None = None,
    reports: str | None = None,
    signing_key: str | None = None,
    approver: str | None = None,
    language: str | None = None,
    dsn: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Apply precedence to the settings that a run has; the arguments are the flags (None: not given).

    Raises TargetError for a missing directory, an unknown provisioner or a bad target file.
    """
    env = os.environ if environ is None else environ
    target_path = target or env.get("SMOS_TARGET") or (str(DEFAULT_FILE) if DEFAULT_FILE.is_file() else None)
    wanted = provision or env.get("SMOS_PROVISION") or "auto"
    try:
        chosen = Provision(wanted)
    except ValueError as error:
        raise TargetError(
            f"Unknown provisioner {wanted!r}", remedy="use one of: " + ", ".join(Provision)
        ) from error
    directory = backups or env.get("SMOS_BACKUPS")
    if directory and not Path(directory).is_dir():
        raise TargetError(
            f"There is no directory {directory}", remedy="give --backups an existing directory of backups"
        )
    loaded = load_target(Path(target_path)) if target_path else None
    return Settings(
        target=loaded,
        target_file=Path(target_path) if target_path else None,
        provision=chosen,
        backups=Path(directory).resolve() if directory else None,
        reports=Path(reports or env.get("SMOS_REPORTS") or "reports").resolve(),
        evidence=resolve_evidence(
            loaded.evidence if loaded else Evidence(), signing_key, approver, language, env
        ),
        dsn=_without_password(dsn or env.get("SMOS_DSN")),
        telemetry=resolve_telemetry(env),
        ssh_agent=Path(env["SSH_AUTH_SOCK"]) if env.get("SSH_AUTH_SOCK") else None,
    )


def resolve_telemetry(env: Mapping[str, str]) -> Telemetry:
    """Return where a drill's telemetry goes. A value that can't be used sends nothing: it must not stop a drill."""
    endpoint = env.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    usable = endpoint.startswith(("http://", "https://"))
    if not usable or env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Telemetry()
    grpc = env.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc"
    return Telemetry(endpoint=endpoint, protocol="grpc" if grpc else "http/protobuf")


def _without_password(dsn: str | None) -> str | None:
    """Return it as it is. Raises TargetError where it holds a password: settings are recorded and handed around."""
    if not dsn:
        return dsn
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        secret = bool(conninfo_to_dict(dsn).get("password"))
    except Error:  # its text may quote the password
        raise TargetError(
            "--dsn is malformed", remedy="write it as postgresql://role@host/database or service=NAME"
        ) from None
    if secret:
        raise TargetError("--dsn holds a password", remedy="give it in ~/.pgpass or PGPASSWORD")
    return dsn


def resolve_evidence(
    declared: Evidence,
    signing_key: str | None = None,
    approver: str | None = None,
    language: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Evidence:
    """Apply precedence to who signs, who approved and the language. Raises TargetError for an unknown language."""
    env = os.environ if environ is None else environ
    locale = (env.get("LC_ALL") or env.get("LANG") or "")[:2]
    wanted = language or env.get("SMOS_LANGUAGE") or declared.language or ("es" if locale == "es" else "en")
    if wanted not in {"en", "es"}:
        raise TargetError(f"There is no report in the language {wanted!r}", remedy="use en or es")
    return declared.model_copy(
        update={
            "signing_key": signing_key or env.get("SMOS_SIGNING_KEY") or declared.signing_key,
            "approver": approver or env.get("SMOS_APPROVER") or declared.approver,
            "language": wanted,
        }
    )
