"""Where evidence is kept: four kinds of places, one small Protocol. Files appear whole; only what is named is read."""

import errno
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from smos.evidence.files import write_atomic
from smos.live.declared import DirectoryStore, RcloneSource, S3Source, SshStore
from smos.live.errors import live_error
from smos.live.stream import Stream
from smos.live.transport import Local, home, program, ssh_options
from smos.provision.owner import Owner

LARGEST = 256 << 20
"""Bytes of one file that is read back."""
TRANSFER_S = 900.0


class StoreAccess(Protocol):
    """A place that keeps files by name; a name is a relative path with forward slashes, and ours."""

    shown: str

    def read(self, *names: str) -> dict[str, bytes]:
        """Return the content of the files that are there, by name. Raises LiveError."""

    def write(self, files: Mapping[str, Path]) -> None:
        """Copy files there, in this order; each appears whole, and replaces an older one. Raises LiveError."""


def open_store(
    store: DirectoryStore | SshStore | S3Source | RcloneSource, owner: Owner, agent: Path | None
) -> StoreAccess:
    """Return the store that the target names. Raises LiveError."""
    if isinstance(store, DirectoryStore):
        return Directory(store.path)
    if isinstance(store, SshStore):
        return Sftp(store, owner, agent)
    if isinstance(store, S3Source):
        return BucketStore(store)
    return RcloneStore(store, owner)


class Directory:
    """A directory of this machine: a mount that outlives the runner."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shown = str(path)

    def read(self, *names: str) -> dict[str, bytes]:
        """Return what is there."""
        if not self._path.is_dir():
            raise live_error("store-unreachable", f"{self._path} is no directory: is it mounted?")
        try:
            return {name: _content(self._path / name) for name in names if (self._path / name).is_file()}
        except OSError as error:
            raise live_error("store-refused", f"{self._path}: {error.strerror}") from None

    def write(self, files: Mapping[str, Path]) -> None:
        """Copy files there."""
        if not self._path.is_dir():
            raise live_error("store-unreachable", f"{self._path} is no directory: is it mounted?")
        for name, source in files.items():
            try:
                write_atomic(self._path / name, source.read_bytes())
            except OSError as error:
                code = "runner-disk-full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "store-refused"
                raise live_error(code, f"{self._path / name}: {error.strerror}") from None


class Sftp:
    """A directory on another machine, by OpenSSH's sftp: no shell is needed there."""

    def __init__(self, store: SshStore, owner: Owner, agent: Path | None) -> None:
        self._owner, self._agent = owner, agent
        self._base = store.path.rstrip("/")
        split = urlsplit(store.address)
        self.shown = f"{store.address}{self._base}"
        self._options = [
            *(["-P", str(split.port)] if split.port else []),
            *ssh_options(store.ssh),
            *(["-o", f"User={split.username}"] if split.username else []),
        ]
        self._host = split.hostname or ""

    def read(self, *names: str) -> dict[str, bytes]:
        """Fetch files into a private directory, in one connection, and return what came."""
        with tempfile.TemporaryDirectory() as folder:
            copies = {name: Path(folder, str(number)) for number, name in enumerate(names)}
            lines = [
                f"-get {_word(f'{self._base}/{name}')} {_word(str(copy))}" for name, copy in copies.items()
            ]
            self._batch(lines, ask=self._base)
            return {name: _content(copy) for name, copy in copies.items() if copy.is_file()}

    def write(self, files: Mapping[str, Path]) -> None:
        """Put each file beside its name and rename it there, in one connection.

        Names here are made absolute: sftp runs in a working directory of its own.
        """
        folders = dict.fromkeys(
            str(parent) for name in files for parent in reversed(Path(name).parents) if str(parent) != "."
        )
        lines = [f"-mkdir {_word(f'{self._base}/{folder}')}" for folder in folders]
        for name, source in files.items():
            there = f"{self._base}/{name}"
            lines += [
                f"put {_word(str(source.absolute()))} {_word(f'{there}.partial')}",
                f"rename {_word(f'{there}.partial')} {_word(there)}",
            ]
        self._batch(lines, ask=self._base)

    def _batch(self, lines: list[str], *, ask: str) -> None:
        """Run commands of sftp; the directory itself must be there, or nothing is concluded from what is missing."""
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "batch")
            script.write_text("\n".join([f"cd {_word(ask)}", *lines]) + "\n", encoding="utf-8")
            agent = {"SSH_AUTH_SOCK": str(self._agent)} if self._agent else {}
            words = [
                program("sftp", "ssh-missing"),
                "-q",
                "-b",
                str(script),
                *self._options,
                "--",
                self._host,
            ]
            with Stream(self._owner, words, env={"HOME": home(), "LC_ALL": "C", **agent}) as stream:
                code = _drained(stream)
                if code != 0:
                    kind = "store-unreachable" if code == 255 else "store-refused"
                    raise live_error(kind, f"{self.shown}: {_last(stream.said).rstrip('?')}")


class BucketStore:
    """A bucket; where it has a retention lock, nobody takes a run away again."""

    def __init__(self, store: S3Source) -> None:
        from smos.live.sources.s3 import Bucket

        self._bucket = Bucket(store)
        self.shown = self._bucket.shown

    def read(self, *names: str) -> dict[str, bytes]:
        """Return the objects that are there."""
        from smos.live.sources.s3 import explained

        found = {}
        with explained(self.shown):
            for name in names:
                if (data := self._object(name)) is not None:
                    found[name] = data
        return found

    def _object(self, name: str) -> bytes | None:
        from botocore.exceptions import ClientError

        try:
            answer = self._bucket.client.get_object(
                Bucket=self._bucket.bucket, Key=f"{self._bucket.prefix}{name}"
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                return None
            raise
        with answer["Body"] as body:
            data: bytes = body.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise live_error("store-refused", f"{name} is too large to be evidence of ours")
        return data

    def write(self, files: Mapping[str, Path]) -> None:
        """Put each file; an object appears whole by itself."""
        from smos.live.sources.s3 import explained

        for name, source in files.items():
            with explained(f"{self.shown}{name}"):
                self._bucket.client.put_object(
                    Bucket=self._bucket.bucket, Key=f"{self._bucket.prefix}{name}", Body=source.read_bytes()
                )


class RcloneStore:
    """Whatever rclone reaches."""

    NOT_FOUND = frozenset({3, 4})
    """rclone's exit codes for a directory and for a file that is not there."""

    def __init__(self, store: RcloneSource, owner: Owner) -> None:
        from smos.live.sources.rclone import RcloneRemote

        self._owner, self._remote = owner, RcloneRemote(store, owner)
        self.shown = self._remote.shown

    def read(self, *names: str) -> dict[str, bytes]:
        """Fetch files into a private directory, by one call, and return what came."""
        with tempfile.TemporaryDirectory() as folder:
            wanted, copies = Path(folder, "names"), Path(folder, "copies")
            wanted.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
            self._run(
                "copy", "--files-from-raw", str(wanted), "--no-traverse", self._remote.place(""), str(copies)
            )
            return {name: _content(copies / name) for name in names if (copies / name).is_file()}

    def write(self, files: Mapping[str, Path]) -> None:
        """Copy all but the last by one call, then the last; rclone's backends make each appear whole.

        `--ignore-times`: where a backend keeps neither times nor hashes, rclone would take equal sizes for equal.
        """
        *earlier, last = files
        with tempfile.TemporaryDirectory() as folder:  # copies: what is sent must not change on the way
            for part in (earlier, [last]):
                staged = Path(folder, "last" if part == [last] else "earlier")
                for name in part:
                    (staged / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(files[name], staged / name)
                if part and not self._run("copy", "--ignore-times", str(staged), self._remote.place("")):
                    raise live_error("store-refused", f"{self.shown}: the files could not be put there")

    def _run(self, *words: str) -> bool:
        from smos.live.sources.rclone import said

        env = Local().env() | {"HOME": home()}
        with Stream(self._owner, self._remote.command(*words), env=env) as stream:
            code = _drained(stream)
            if code in self.NOT_FOUND:
                return False
            if code != 0:
                raise live_error("store-unreachable", f"{self.shown}: {said(stream.said)}")
            return True


def _content(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise live_error("store-refused", f"{path.name} is too large to be evidence of ours")
    return path.read_bytes()


def _drained(stream: Stream) -> int:
    for _ in stream.blocks(stall_s=TRANSFER_S, deadline=time.monotonic() + TRANSFER_S):
        pass
    return stream.end()


def _word(path: str) -> str:
    """Quote a word for sftp's batch."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it failed without a word"
