"""Reads and changes `~/.smos/config.yml`, and keeps secrets apart from it.

Precedence of a value: flag (the command's own) > environment > file > default. Comments and order of the file
survive a change. Secrets go to the system's keyring where there is one, else to `secrets.yml` (0600) beside it.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from smos.config.keys import KEYS, Key, key
from smos.errors import SmosError, TargetError

CONFIG_NAME, SECRETS_NAME = "config.yml", "secrets.yml"
LOCK_S = 60
"""Against hangs: who holds it reads and writes a small file."""
SERVICE = "smarteros-verify"
"""Under this name the system's keyring holds our secrets."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it comes from: "environment NAME", "file", "keyring", "secrets.yml", "default" or "unset"."""

    key: Key
    value: Any
    origin: str

    @property
    def shown(self) -> str:
        """The value as it may be shown: of a secret only whether there is one."""
        if self.value is None:
            return ""
        return "********" if self.key.secret else str(self.value)


class SecretStore(Protocol):
    """Where secrets are kept. name: as it is told to the user."""

    name: str

    def get(self, name: str) -> str | None:
        """Return the secret, None when there is none."""

    def set(self, name: str, value: str | None) -> None:
        """Keep it; None removes it."""


def home(environ: Mapping[str, str]) -> Path:
    """Return the directory of the configuration: SMOS_HOME, else ~/.smos."""
    return Path(environ.get("SMOS_HOME") or Path.home() / ".smos").expanduser()


class Config:
    """The configuration in one directory. environ: the environment, handed in so that tests need no other."""

    def __init__(
        self, directory: Path, environ: Mapping[str, str], secrets: SecretStore | None = None
    ) -> None:
        self.directory = directory
        self.path = directory / CONFIG_NAME
        self._environ = environ
        self._secrets = secrets or find_secret_store(directory, environ)

    @property
    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path.is_file()

    @property
    def secret_store(self) -> str:
        """Where secrets are kept, in words."""
        return self._secrets.name

    def get(self, name: str) -> Setting:
        """Return a value and where it comes from. Raises TargetError for an unknown key or a value that can't be."""
        wanted = key(name)
        for variable in wanted.environment:
            if self._environ.get(variable):
                return Setting(wanted, wanted.parse(self._environ[variable]), f"environment {variable}")
        if wanted.secret:
            found = self._secrets.get(name)
            return Setting(wanted, found, self._secrets.name if found is not None else "unset")
        held = _lookup(_load(self.path), name)
        if held is not None:
            return Setting(wanted, wanted.parse(held), "file")
        return Setting(wanted, wanted.default, "default" if wanted.default is not None else "unset")

    def value(self, name: str) -> Any:
        """Return the value alone."""
        return self.get(name).value

    def all(self) -> list[Setting]:
        """Return every key with its value. Raises TargetError where the file holds a key that nobody knows."""
        for name in _names(_load(self.path)):
            key(name)
        return [self.get(name) for name in KEYS]

    def set(self, name: str, value: Any) -> Setting:
        """Keep a value; the file is made (0600) when it is not there. Raises TargetError, SmosError."""
        wanted = key(name)
        parsed = wanted.parse(value)
        if wanted.secret:
            with self._locked():
                self._secrets.set(name, str(parsed))
            return Setting(wanted, parsed, self._secrets.name)
        with self._locked():
            document = _load(self.path)
            place = document
            *parents, last = name.split(".")
            for part in parents:
                if not isinstance(place.get(part), CommentedMap):
                    place[part] = CommentedMap()
                place = place[part]
            place[last] = parsed
            _write(self.path, document)
        return Setting(wanted, parsed, "file")

    def unset(self, name: str) -> bool:
        """Remove a value from the file or the secrets; tell whether there was one."""
        wanted = key(name)
        with self._locked():
            if wanted.secret:
                there = self._secrets.get(name) is not None
                self._secrets.set(name, None)
                return there
            document = _load(self.path)
            *parents, last = name.split(".")
            place: Any = document
            for part in parents:
                place = place.get(part) if isinstance(place, CommentedMap) else None
            if not isinstance(place, CommentedMap) or last not in place:
                return False
            del place[last]
            _write(self.path, document)
            return True

    def create(self, text: str) -> None:
        """Write a new file as a whole (0600), for `smos init`."""
        with self._locked():
            _parse(text, self.path)
            _write_text(self.path, text)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(self.directory / ".lock", mode=0o600, timeout=LOCK_S):
                yield
        except Timeout:
            raise SmosError(
                f"Another smos holds {self.directory}", remedy="wait until it has ended, then try again"
            ) from None
        except OSError as error:
            raise SmosError(
                f"{self.directory} can't be written: {error.strerror}",
                remedy="name a directory of your own with SMOS_HOME",
            ) from error


class SecretFile:
    """Secrets in a file of their own that only its owner may read."""

    name = SECRETS_NAME

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str) -> str | None:
        """Return the secret. Raises TargetError when others could read the file."""
        if not self._path.exists():
            return None
        state = self._path.stat()
        if stat.S_IMODE(state.st_mode) & 0o077:
            raise TargetError(
                f"{self._path} can be read by others than its owner",
                remedy=f"chmod 600 {self._path}, and change the secrets in it: somebody may have read them",
            )
        found = _load(self._path).get(name)
        return None if found is None else str(found)

    def set(self, name: str, value: str | None) -> None:
        """Keep or remove the secret."""
        document = _load(self._path)
        if value is None:
            document.pop(name, None)
        else:
            document[name] = value
        _write(self._path, document)


class Keyring:
    """The system's keyring: Secret Service, KWallet, macOS' Keychain."""

    name = "keyring"

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def get(self, name: str) -> str | None:
        """Return the secret."""
        found = self._backend.get_password(SERVICE, name)
        return None if found is None else str(found)

    def set(self, name: str, value: str | None) -> None:
        """Keep or remove the secret."""
        if value is not None:
            self._backend.set_password(SERVICE, name, value)
        elif self.get(name) is not None:
            self._backend.delete_password(SERVICE, name)


def find_secret_store(directory: Path, environ: Mapping[str, str]) -> SecretStore:
    """Return the keyring where one works (extra `cli`), else the file. SMOS_KEYRING=off asks for the file."""
    path = directory / SECRETS_NAME
    if environ.get("SMOS_KEYRING") == "off" or path.exists():
        return SecretFile(path)
    try:
        import keyring
        from keyring.backends.fail import Keyring as NoKeyring
    except ImportError:
        return SecretFile(path)
    backend = keyring.get_keyring()
    return SecretFile(path) if isinstance(backend, NoKeyring) or backend.priority < 1 else Keyring(backend)


def _load(path: Path) -> CommentedMap:
    try:
        return _parse(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        return CommentedMap()
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{path} can't be read: {error}", remedy="correct or remove the file") from error


def _parse(text: str, path: Path) -> CommentedMap:
    try:
        document = YAML(typ="rt").load(text)
    except YAMLError as error:
        where = getattr(getattr(error, "problem_mark", None), "line", None)
        raise TargetError(
            f"{path} is no valid YAML" + ("" if where is None else f" (line {where + 1})"),
            remedy="correct or remove the file",
        ) from None
    if document is None:
        return CommentedMap()
    if not isinstance(document, CommentedMap):
        raise TargetError(f"{path} holds no keys", remedy="correct or remove the file")
    return document


def _lookup(document: Mapping[str, Any], name: str) -> Any:
    place: Any = document
    for part in name.split("."):
        if not isinstance(place, Mapping):
            return None
        place = place.get(part)
    return place


def _names(document: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _write(path: Path, document: CommentedMap) -> None:
    out = StringIO()
    yaml = YAML(typ="rt")
    yaml.width = 10_000  # a long value stays on its line
    if document:
        yaml.dump(document, out)
    _write_text(path, _only_comments(path) + out.getvalue())


def _only_comments(path: Path) -> str:
    """Return the text of a file that holds nothing but comments: the parser has no key to keep them with."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [line.strip() for line in text.splitlines()]
    return (
        text.rstrip() + "\n\n" if text.strip() and all(not line or line[0] == "#" for line in lines) else ""
    )


def _write_text(path: Path, text: str) -> None:
    """Write the whole file by one rename, 0600 from its first byte; a link is followed, not replaced."""
    place = path.resolve()
    partial = place.with_name(f".{place.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(place)
