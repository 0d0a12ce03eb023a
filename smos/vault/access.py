"""Who may do what: ask a real Vault about every role, path and verb, by request and by its own capabilities.

The expectation (compose/vault/access-matrix.yml) is written from the platform's documentation, never from the
policies. A write that is expected to be refused carries no data, so it changes nothing even where a policy is
too wide. Deletes can't be made harmless, nor can writes that are granted: those belong on a Vault of the harness'
own. Elsewhere (`harmless`) only reads and lists are requested, and the rest is asked of the server's own account.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import hvac
import requests
import urllib3
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smos.errors import TargetError
from smos.paths import compose_dir
from smos.vault.bootstrap import login
from smos.vault.escrow import AppRoleCredential, Escrow
from smos.vault.model import CLIENT_ERRORS, REQUEST_LIMIT_S, VaultEndpoint, VaultError, explain, opened

WORKERS = 4
TRANSIT_KEY = "smarteros-secrets"
"""The name that the matrix uses for the platform's key."""
HARMLESS = {"data": {"probe": "access matrix"}}
"""What a write that is expected to succeed writes."""


class Verb(StrEnum):
    """What is tried on a path."""

    READ = "read"
    WRITE = "write"
    LIST = "list"
    DELETE = "delete"


_CAPABILITIES = {
    Verb.READ: frozenset({"read"}),
    Verb.WRITE: frozenset({"create", "update"}),
    Verb.LIST: frozenset({"list"}),
    Verb.DELETE: frozenset({"delete"}),
}
_METHODS = {Verb.READ: "GET", Verb.WRITE: "POST", Verb.LIST: "LIST", Verb.DELETE: "DELETE"}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PathRule(_Model):
    """One path and the roles that each verb is granted to. system: the path is used as it is."""

    path: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    list_: Annotated[tuple[str, ...], Field(alias="list")] = ()
    delete: tuple[str, ...] = ()
    system: bool = False

    def roles(self, verb: Verb) -> tuple[str, ...]:
        """Return the roles that may do this."""
        return {
            Verb.READ: self.read,
            Verb.WRITE: self.write,
            Verb.LIST: self.list_,
            Verb.DELETE: self.delete,
        }[verb]


class Matrix(_Model):
    """The whole expectation."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    kv_mount: str
    roles: tuple[str, ...]
    always: Mapping[Verb, tuple[str, ...]] = {}
    everybody: tuple[str, ...] = ()
    """Patterns of the rules that every token has, for its own care (the policy `default`)."""
    unrequested: tuple[PathRule, ...] = ()
    """Rules that are granted and never tried; their paths are spelled as in the policy."""
    paths: tuple[PathRule, ...]

    def of(self, kv_mount: str, transit_key: str) -> "Matrix":
        """Return the same expectation of a Vault whose KV mount and transit key have other names."""

        def renamed(path: str) -> str:
            parts = [transit_key if part == TRANSIT_KEY else part for part in path.split("/")]
            return "/".join([kv_mount if parts[0] == self.kv_mount else parts[0], *parts[1:]])

        paths = tuple(
            rule.model_copy(update={"path": renamed(rule.path)}) if rule.system else rule
            for rule in self.paths
        )
        return self.model_copy(update={"kv_mount": kv_mount, "paths": paths})

    def grants(self, rule: PathRule, verb: Verb, role: str) -> bool:
        """Tell whether the role is expected to be let through."""
        return role in rule.roles(verb) or (not rule.system and role in self.always.get(verb, ()))

    def api_path(self, rule: PathRule, verb: Verb) -> str:
        """Return the path in the API (KV v2: data/ to read, write and delete, metadata/ to list)."""
        end = "/" if verb is Verb.LIST else ""
        if rule.system:
            return rule.path + end
        return f"{self.kv_mount}/{'metadata' if verb is Verb.LIST else 'data'}/{rule.path}{end}"

    def bare_path(self, rule: PathRule, verb: Verb) -> str:
        """Return the path as people write it, without what KV v2 puts in between: granting it grants nothing."""
        return f"{self.kv_mount}/{rule.path}" + ("/" if verb is Verb.LIST else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessFacts:
    """One cell: what was expected, what the request got, what the server says about itself.

    status: HTTP status, None without an answer. capable: what sys/capabilities-self says, None if not asked.
    requested: whether a request was made at all. without_data: whether the server's account grants this at the path
    without KV v2's `data/` or `metadata/`, where it is of no use; None if not asked.
    """

    role: str
    path: str
    verb: Verb
    expected: bool
    status: int | None
    capable: bool | None
    requested: bool = True
    without_data: bool | None = None

    @property
    def granted(self) -> bool | None:
        """Whether the policy let the request through; None when that is unknown.

        404 (nothing there), 405 (no such verb) and 400 (nothing sent) come after the policy; 403 is the
        policy. A 5xx says nothing about it.
        """
        if self.status is None or self.status >= 500 or self.status in {401, 429, 472, 473}:
            return None
        return self.status != 403

    @property
    def agrees(self) -> bool:
        """Whether expectation, request and capabilities are one."""
        return self.granted is self.expected and self.capable is self.expected


def load_matrix(path: Path | None = None) -> Matrix:
    """Read the expectation; None: the one that comes with this package. Raises TargetError."""
    path = path or compose_dir() / "vault" / "access-matrix.yml"
    try:
        matrix = Matrix.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, YAMLError, ValidationError) as error:
        raise TargetError(
            f"{path} is not an access matrix: {error}",
            remedy="compare it with compose/vault/access-matrix.yml",
        ) from error
    everywhere = (*matrix.paths, *matrix.unrequested)
    named = {role for rule in everywhere for verb in Verb for role in rule.roles(verb)}
    named |= {role for roles in matrix.always.values() for role in roles}
    if unknown := sorted(named - set(matrix.roles)):
        raise TargetError(
            f"{path} grants rights to {', '.join(unknown)}, which `roles` does not name",
            remedy="correct the spelling, or add the role: a right of an unknown role is never tried",
        )
    return matrix


def try_access(
    endpoint: VaultEndpoint, escrow: Escrow, matrix: Matrix, verbs: tuple[Verb, ...] = tuple(Verb)
) -> tuple[AccessFacts, ...]:
    """Try every role, path and verb. Order: as in the matrix.

    Raises VaultError when a role can't log in: nothing could be said about it.
    """

    def one(role: str) -> tuple[AccessFacts, ...]:
        return try_role(endpoint, escrow.approles.get(role), matrix, role, verbs)

    with ThreadPoolExecutor(WORKERS) as pool:
        return tuple(facts for found in pool.map(one, matrix.roles) for facts in found)


def try_role(
    endpoint: VaultEndpoint,
    credential: AppRoleCredential | None,
    matrix: Matrix,
    role: str,
    verbs: tuple[Verb, ...] = tuple(Verb),
    *,
    harmless: bool = False,
) -> tuple[AccessFacts, ...]:
    """Try every path and verb as one role. harmless: request nothing that could change something.

    Raises VaultError (`role-unknown`, `login-failed`).
    """
    if credential is None:
        raise VaultError(
            f"No credential of {role} is known",
            code="role-unknown",
            remedy="set the role up, or take it out of the matrix",
        )
    with opened(endpoint) as client:
        try:
            login(client, credential)
        except CLIENT_ERRORS as error:
            raise VaultError(f"{role} can't log in: {explain(error)}", code="login-failed") from None
        return tuple(_cells(_Line(client), matrix, role, verbs, harmless=harmless))


def _cells(
    line: "_Line", matrix: Matrix, role: str, verbs: tuple[Verb, ...], *, harmless: bool
) -> Iterator[AccessFacts]:
    cells = [(rule, verb, matrix.api_path(rule, verb)) for rule in matrix.paths for verb in verbs]
    bare = {path: matrix.bare_path(rule, verb) for rule, verb, path in cells if not rule.system}
    capabilities = line.capabilities(sorted({path for _, _, path in cells} | set(bare.values())))

    def capable(path: str, verb: Verb) -> bool | None:
        known = capabilities.get(path)
        return None if known is None else bool(known & (_CAPABILITIES[verb] | {"root"}))

    for rule, verb, path in cells:
        expected = matrix.grants(rule, verb, role)
        requested = not harmless or verb in {Verb.READ, Verb.LIST}
        status = None
        if requested:
            body: object = None
            if verb is Verb.WRITE:
                body = HARMLESS if expected and not rule.system else {}
            status, _ = line.ask(_METHODS[verb], path, body)
        yield AccessFacts(
            role=role,
            path=path,
            verb=verb,
            expected=expected,
            status=status,
            capable=capable(path, verb),
            requested=requested,
            without_data=capable(bare[path], verb) if path in bare else None,
        )


class _Line:
    """One kept connection of a client that is logged in.

    The Unix-socket adapter of requests opens a connection for every new URL, and requests itself costs three
    times what the server takes; the pool below both is asked directly.
    """

    def __init__(self, client: hvac.Client) -> None:
        request = requests.Request("GET", client.url).prepare()
        adapter = client.session.get_adapter(client.url)
        self._pool = adapter.get_connection_with_tls_context(request, client.session.verify)
        self._headers = {"X-Vault-Token": client.token, "X-Vault-Request": "true"}
        if client.adapter.namespace:
            self._headers["X-Vault-Namespace"] = client.adapter.namespace

    def ask(self, method: str, path: str, body: object = None) -> tuple[int | None, bytes]:
        """Return status and answer; (None, b"") when nobody answered."""
        try:
            answer = self._pool.urlopen(
                method,
                f"/v1/{path}",
                body=None if body is None else json.dumps(body).encode(),
                headers=self._headers,
                timeout=REQUEST_LIMIT_S,
                retries=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError):
            return None, b""
        return answer.status, answer.data

    def capabilities(self, paths: list[str]) -> dict[str, frozenset[str]]:
        """Return what the server says that this token may do at each path; {} when it doesn't say."""
        status, answer = self.ask("POST", "sys/capabilities-self", {"paths": paths})
        if status != 200:
            return {}
        data = json.loads(answer)["data"]
        return {path: frozenset(data[path]) for path in paths if path in data}
