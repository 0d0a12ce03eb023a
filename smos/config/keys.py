"""Every key of `~/.smos/config.yml`, as data: its type, its environment variables, whether it is a secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import TypeAdapter, ValidationError

from smos.errors import TargetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key. environment: variables that win over the file, the first that is set; ours comes first.

    kind: the type of its value, as pydantic understands it. secret: kept apart from the file and never shown.
    """

    name: str
    help: str
    kind: Any = str
    default: Any = None
    secret: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def environment(self) -> tuple[str, ...]:
        """SMOS_ and the key in capitals, then the names that the servers' own tools use."""
        return (f"SMOS_{self.name.upper().replace('.', '_')}", *self.aliases)

    def parse(self, text: Any) -> Any:
        """Return the value. Raises TargetError that names the key; a secret is not repeated."""
        try:
            return TypeAdapter(self.kind).validate_python(text)
        except ValidationError as error:
            shown = "this value" if self.secret else repr(text)
            raise TargetError(
                f"{self.name}: {shown} is not possible: {error.errors()[0]['msg']}",
                remedy=f"{self.name} is {self.help}",
            ) from None


KEYS: Mapping[str, Key] = {
    key.name: key
    for key in (
        Key(name="lang", help="the language of messages: en or es", default=None),
        Key(name="target", help="the target file that drills use", aliases=("SMOS_TARGET",)),
        Key(name="backups.directory", help="the directory of the backup sets", aliases=("SMOS_BACKUPS",)),
        Key(name="backups.keep_days", help="how many days backups are kept", kind=int, default=7),
        Key(
            name="vault.address",
            help="the address of Vault",
            default="http://127.0.0.1:8200",
            aliases=("BAO_ADDR", "VAULT_ADDR"),
        ),
        Key(
            name="vault.token",
            help="a token for Vault",
            secret=True,
            aliases=("BAO_TOKEN", "VAULT_TOKEN"),
        ),
        Key(
            name="vault.ca_file",
            help="the certificate authority that Vault's certificate is checked with",
            aliases=("BAO_CACERT", "VAULT_CACERT"),
        ),
        Key(name="vault.mount", help="the KV v2 mount", default="smarteros"),
        Key(name="postgres.dsn", help="where tenants live: a connection string without a password"),
        Key(name="postgres.password", help="the password for postgres.dsn", secret=True),
        Key(name="docker.host", help="the Docker engine", aliases=("DOCKER_HOST",)),
        Key(name="docker.project", help="the prefix of the stack's containers", default="smarter"),
        Key(name="deploy.compose_file", help="the compose file of the back end"),
        Key(name="deploy.context", help="the Docker context of the back end's host"),
        Key(name="deploy.frontend", help="the directory of the front end"),
        Key(name="deploy.health_url", help="the address that tells whether a deployment is healthy"),
        Key(name="health.urls", help="further addresses that `smos health` asks, with blanks between them"),
        Key(name="mcp.registry", help="the MCP registry (default: the one that comes with smos)"),
        Key(
            name="slack.webhook",
            help="the incoming webhook of the channel that is told",
            secret=True,
            aliases=("SLACK_WEBHOOK_URL",),
        ),
        Key(
            name="slack.token",
            help="the bot token that may write to channels",
            secret=True,
            aliases=("SLACK_BOT_TOKEN",),
        ),
    )
}
"""Key to its description, in the order of `config list`."""


def key(name: str) -> Key:
    """Return the key of this name. Raises TargetError with the nearest names."""
    found = KEYS.get(name)
    if found is None:
        near = get_close_matches(name, KEYS, n=2)
        raise TargetError(
            f"There is no key {name!r}",
            remedy=f"did you mean {', '.join(near)}?" if near else "smos config list shows every key",
        )
    return found
