"""The registry of MCP providers (compose/vault/providers.yml): whose secrets Vault keeps, and where."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smos.errors import TargetError
from smos.paths import compose_dir

Agent = Literal["director-gemini", "writer-copilot", "executor-codex"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProviderTest(_Model):
    """A request that changes nothing and that only valid credentials get answered; `{key}`: a value of the secret.

    json_: the body of a POST. field: what the answer must hold, where any request is answered with 200.
    """

    url: str
    method: Literal["GET", "POST"] = "GET"
    headers: dict[str, str] = {}
    basic: tuple[str, str] | None = None
    json_: Annotated[dict[str, Any] | None, Field(alias="json")] = None
    field: str | None = None


class Provider(_Model):
    """One provider. `keys` empty and `path` None: it holds no secret."""

    name: str
    tier: Annotated[int, Field(ge=1, le=6)]
    category: str
    agent: Agent
    path: str | None = None
    keys: tuple[str, ...]
    test: ProviderTest | None = None


class OtherSecret(_Model):
    """A secret that belongs to no provider."""

    path: str
    keys: tuple[str, ...]


class Registry(_Model):
    """All secrets that the platform keeps, without a value."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    providers: tuple[Provider, ...]
    others: tuple[OtherSecret, ...] = ()

    def secrets(self) -> dict[str, tuple[str, ...]]:
        """Return path (below the KV mount) to the keys that the secret there must hold."""
        found = {item.path: item.keys for item in self.providers if item.path is not None}
        return found | {item.path: item.keys for item in self.others}


def load_registry(path: Path | None = None) -> Registry:
    """Read the registry; None: the one that comes with this package. Raises TargetError."""
    path = path or compose_dir() / "vault" / "providers.yml"
    try:
        return Registry.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, YAMLError, ValidationError) as error:
        raise TargetError(
            f"{path} is not a provider registry: {error}",
            remedy="compare it with compose/vault/providers.yml",
        ) from error
