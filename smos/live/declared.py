"""What a target file says about a host of yours, about where its backups lie, and where evidence is kept.

Models only; smos/target.py puts them into the target. docs/live.md shows every key.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

Word = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
"""No control characters: it is shown on terminals and given to programs."""
HostPath = Annotated[str, Field(pattern=r"^/[^\x00-\x1f\x7f-\x9f]*$", max_length=1024)]
"""An absolute path on another machine."""


def _with_a_port(value: str) -> str:
    try:
        port = urlsplit(value).port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("a port is a number from 1 to 65535, and brackets hold an IPv6 address")
    return value


Address = Annotated[
    str,
    AfterValidator(_with_a_port),
    Field(
        pattern=r"^(local://|docker://([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*"
        r"|ssh://([A-Za-z0-9_][A-Za-z0-9_.-]*@)?([A-Za-z0-9][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?)$",
        max_length=400,
    ),
]
"""`ssh://user@host:port`, `docker://user@container` or `local://`; no word of it can be taken for an option."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HostLimits(_Model):
    """What a host may be like before it is a finding."""

    disk_used_percent: Annotated[float, Field(gt=0, le=100)] = 90
    inodes_used_percent: Annotated[float, Field(gt=0, le=100)] = 90
    memory_available_percent: Annotated[float, Field(ge=0, lt=100)] = 5
    clock_skew_seconds: Annotated[float, Field(gt=0)] = 5
    """Beyond what the way there can explain."""
    restarts: Annotated[int, Field(ge=1)] = 3
    """A service that was restarted at least this often and has run for less than `settled_minutes` is in a loop."""
    settled_minutes: Annotated[float, Field(gt=0)] = 30


class Ssh(_Model):
    """How OpenSSH reaches a host. What is not said here comes from the runner's own ssh configuration."""

    known_hosts: Path | None = None
    """The host's public keys, as `ssh-keyscan` prints them, compared with the host itself. None: ssh's own files."""
    identity_file: Path | None = None
    """Private key (0600). None: the agent, or what ssh's configuration names."""
    config_file: Path | None = None
    """Another ssh configuration than ~/.ssh/config, for jump hosts and the like."""
    connect_seconds: Annotated[int, Field(ge=1, le=300)] = 20


class HostTarget(_Model):
    """The production host: looked at, never changed."""

    address: Address
    ssh: Ssh = Ssh()
    limits: HostLimits = HostLimits()
    paths: tuple[HostPath, ...] = ("/",)
    """Places whose file systems must have room, beside the backup directory's."""


class Service(_Model):
    """A service that must give positive evidence of health."""

    name: Annotated[Word, Field(max_length=255)]
    kind: Literal[
        "postgres", "vault", "volume", "redis", "container", "systemd", "http", "grafana", "sentry", "otlp"
    ]
    """postgres and vault are asked in the sandbox; container and systemd on the host, the last four at their `url`,
    where the drill is live. What can't be asked is NOT_PROVEN."""
    url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$", max_length=1024)] | None = None
    """Public address, without credentials."""
    unit: Word | None = None
    """The container's or the unit's name, where it is another than `name`."""
    ca_file: Path | None = None
    """PEM file of the authority to trust instead of the system's."""
    expect_status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """What the answer of an http service must hold."""
    certificate_days: Annotated[int, Field(ge=0, le=3660)] = 14
    """A certificate that expires sooner is a finding."""


class HostSource(_Model):
    """Backups in a directory of the target's host."""

    kind: Literal["host"]
    path: HostPath


class S3Source(_Model):
    """A bucket, or a part of one, at AWS or at whoever speaks S3's protocol."""

    kind: Literal["s3"]
    bucket: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")]
    prefix: Annotated[str, Field(max_length=1024, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] = ""
    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] | None = None
    """None: AWS."""
    region: Word | None = None
    profile: Word | None = None
    """A profile of ~/.aws/config. None, and no credentials: the usual chain (roles, web identity, environment)."""
    credentials: Path | None = None
    """JSON file (0600): `{"access_key_id": "…", "secret_access_key": "…"}`, `session_token` where there is one."""
    ca_file: Path | None = None

    @field_validator("endpoint")
    @classmethod
    def _with_tls(cls, value: str | None) -> str | None:
        if value and urlsplit(value).scheme == "http" and not _is_loopback(value):
            raise ValueError("use https://: backups and requests pass there (http is taken on loopback only)")
        return value


class RcloneSource(_Model):
    """Whatever rclone reaches: `remote` as its configuration names it, with a path."""

    kind: Literal["rclone"]
    remote: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+@ -]+:[^\x00-\x1f\x7f-\x9f]*$", max_length=1024)]
    """`name:path`. No connection string: those can hold secrets and options."""
    config: Path | None = None
    """rclone's configuration file. None: its usual place."""

    @field_validator("remote")
    @classmethod
    def _no_option(cls, value: str) -> str:
        if value.startswith(("-", " ")) or ".." in PurePosixPath(value.partition(":")[2]).parts:
            raise ValueError("write it as name:path, without `..`")
        return value


Source = Annotated[HostSource | S3Source | RcloneSource, Field(discriminator="kind")]


class DirectoryStore(_Model):
    """A directory of the runner that outlives it: a mount, a disk of a runner of your own."""

    kind: Literal["directory"]
    path: Path


class SshStore(_Model):
    """A directory on another machine than the production host, written over SFTP."""

    kind: Literal["ssh"]
    address: Annotated[Address, Field(pattern=r"^ssh://")]
    path: HostPath
    ssh: Ssh = Ssh()


Store = Annotated[DirectoryStore | SshStore | S3Source | RcloneSource, Field(discriminator="kind")]
"""Where history and evidence go: runners forget."""

_M = TypeVar("_M", bound=BaseModel)


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in {"127.0.0.1", "localhost", "::1"}


def absolute(model: _M, base: Path) -> _M:
    """Return the model with every relative path of the runner taken from `base`."""
    changes: dict[str, object] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Path):
            changes[name] = base / value.expanduser()
        elif isinstance(value, BaseModel):
            changes[name] = absolute(value, base)
    return model.model_copy(update=changes)
