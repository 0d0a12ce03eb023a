"""A copy of the material that one fault may break: the only thing that an injection is given.

Copies are real copies (some 4 MB): nothing that is written here can reach the pristine backups through a link.
"""

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import zstandard

from smos.backup.envelope import SUFFIX, parse_recipient
from smos.backup.manifest import (
    MANIFEST_NAME,
    SET_PREFIX,
    SIGNATURE_NAME,
    STAMP_FORMAT,
    Artifact,
    Encryption,
    Manifest,
    read_manifest,
)
from smos.backup.sealing import Envelope, seal_artifact, with_suffix
from smos.backup.signing import sign_manifest
from smos.backup.state import file_sha256
from smos.backup.volumes import Restoration, create_volume_archive
from smos.drill.stack import Sandbox
from smos.errors import BackupError
from smos.faults.dr.copies import is_ordinary, portrait
from smos.faults.dr.material import Material
from smos.faults.dr.vaultshop import Damage, VaultShop
from smos.faults.dr.workshop import Workshop
from smos.faults.registry import Variant
from smos.vault.escrow import escrow_recipient, read_escrow
from smos.vault.snapshot import read_canary

if TYPE_CHECKING:
    from smos.drill.keyring import KeyRing
    from smos.provision.embedded.postgres import EmbeddedPostgres
    from smos.verdict import Judgement

Strike = Callable[[Sandbox], None]


class Workspace:
    """A broken copy in the making.

    An injection may also change what it finds here. target: what is declared. now: the moment of the disaster,
    UTC. last_verified: the set of the last drill that passed. strikes: what to do to the sandbox when the drill
    enters a phase, by the phase's name. objective_share: when set, the objectives are made this share of what the
    drill measures. attacked: says, after the check, what an attack achieved; empty when nothing outside of the
    sandbox was touched. unprivileged: the check runs as a user who is not root.
    every_set: DR-02 reads all sets, not only the newest. instead: what the drill is handed as its sandbox. judge:
    gives the check's judgement where no drill is needed. ring: the keys of an encrypted set where only files are
    read. whole_drill: DR-02 judges what a drill has read, with the keys that it came by.
    """

    def __init__(
        self,
        material: Material,
        directory: Path,
        workshop: Workshop,
        vaultshop: VaultShop,
        *,
        backups: Path | None = None,
        sets: int | None = None,
    ) -> None:
        """Copy the material. backups: copied in the place of the material's own. sets: how many, the newest ones."""
        source = backups or material.backups
        older = sorted(path.name for path in source.iterdir())[:-sets] if sets else []
        shutil.copytree(source, directory / "backups", symlinks=True, ignore=lambda _folder, _names: older)
        self.directory = directory
        self.backups = directory / "backups"
        declared = material.target.backups.model_copy(update={"directory": self.backups})
        self.target = material.target.model_copy(update={"backups": declared})
        self.now: datetime = material.now
        self.last_verified: str | None = None
        self.strikes: dict[str, Strike] = {}
        self.objective_share: float | None = None
        self.attacked: Callable[[], str] | None = None
        self.unprivileged = False
        self.every_set = False
        self.instead: EmbeddedPostgres | None = None
        self.judge: Callable[[str], Judgement] | None = None
        self.ring: KeyRing | None = None
        self.whole_drill = False
        self._material = material
        self._workshop = workshop
        self.vaultshop = vaultshop

    def again(self, directory: Path) -> "Workspace | None":
        """Return another copy that is broken in the same way, in `directory` (empty).

        None where more than ordinary files of the backups was changed, or a copy is not the same in every respect.
        """
        if not self.plain or not is_ordinary(self.backups):
            return None
        copy = Workspace(self._material, directory, self._workshop, self.vaultshop, backups=self.backups)
        if portrait(copy.backups) == portrait(self.backups):
            return copy
        shutil.rmtree(copy.backups)
        return None

    @property
    def plain(self) -> bool:
        """Whether nothing but the backups was changed: what is declared, the moment and the drill are as they were."""
        backups = self._material.target.backups.model_copy(update={"directory": self.backups})
        return (
            self.target == self._material.target.model_copy(update={"backups": backups})
            and self.now == self._material.now
            and self.last_verified is None
            and not (self.strikes or self.attacked or self.instead or self.judge or self.ring)
            and self.objective_share is None
            and not (self.unprivileged or self.every_set or self.whole_drill)
            and [path.name for path in self.directory.iterdir()] == [self.backups.name]
        )

    # --- where things are ---------------------------------------------------------------------------------

    @property
    def sets(self) -> list[Path]:
        """The sets, oldest first."""
        return sorted(path for path in self.backups.iterdir() if path.name.startswith(SET_PREFIX))

    @property
    def newest(self) -> Path:
        """The set that a drill restores."""
        return self.sets[-1]

    def path(self, relative: str) -> Path:
        """Return a path inside the newest set."""
        return self.newest / relative

    def largest(self, pattern: str) -> Path:
        """Return the largest file of the newest set that matches."""
        return max(sorted(self.newest.glob(pattern)), key=lambda path: path.stat().st_size)

    @property
    def workshop(self) -> Workshop:
        """The server in which databases are damaged."""
        return self._workshop

    # --- files --------------------------------------------------------------------------------------------

    def replace(self, path: Path, data: bytes) -> None:
        """Give a file another content."""
        path.write_bytes(data)

    def drop(self, path: Path) -> None:
        """Remove a file or a directory."""
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def edit_text(self, path: Path, change: Callable[[str], str]) -> None:
        """Change a zstd-compressed text, such as the globals. Raises BackupError when nothing changes."""
        before = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode()
        after = change(before)
        if after == before:
            raise BackupError(f"the fault changes nothing in {path.name}")
        path.write_bytes(zstandard.compress(after.encode()))

    def flip(self, path: Path, offset: int) -> None:
        """Flip the lowest bit of one byte."""
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)

    # --- what is declared ---------------------------------------------------------------------------------

    def declare_backups(self, **changes: Any) -> None:
        """Change what the target declares of its backups."""
        backups = self.target.backups.model_copy(update=changes)
        self.target = self.target.model_copy(update={"backups": backups})

    def declare_limits(self, **changes: Any) -> None:
        """Change the target's limits."""
        self.target = self.target.model_copy(update={"limits": self.target.limits.model_copy(update=changes)})

    def copy_offsite(self) -> Path:
        """Make a second copy, declare it, and return its directory."""
        offsite = self.directory / "offsite"
        shutil.copytree(self.backups, offsite, symlinks=True)
        self.declare_backups(offsite=offsite)
        return offsite

    # --- databases ----------------------------------------------------------------------------------------

    def edit_dump(self, database: str, *statements: str, options: LiteralString = "") -> None:
        """Damage a database by SQL and dump it again in its place. options: see Workshop.redump."""
        folder = self.path(f"databases/{database}")
        self.drop(folder)
        self._workshop.redump(database, statements, folder, options=options)

    def edit_globals(self, keep: Callable[[str], bool]) -> None:
        """Drop the lines of the globals that `keep` says no to."""
        self.edit_text(
            self.path("globals.sql.zst"),
            lambda text: "".join(line for line in text.splitlines(keepends=True) if keep(line)),
        )

    def edit_content(self, database: str, old: str, new: str) -> None:
        """Change what the manifest says that a database held, and sign it again. Raises BackupError."""
        manifest = self.manifest()
        entries = []
        for entry in manifest.databases:
            text = json.dumps(entry.content)
            if entry.name == database:
                if old not in text:
                    raise BackupError(f"the manifest says nothing of {old}")
                text = text.replace(old, new)
            entries.append(entry.model_copy(update={"content": json.loads(text)}))
        self.rewrite(databases=tuple(entries))

    def edit_data(self, database: str, mark: bytes, change: Callable[[bytes], bytes]) -> None:
        """Change the data file of a dump that holds `mark`. Raises BackupError when nothing changes."""
        for path in sorted(self.path(f"databases/{database}").glob("*.dat.zst")):
            before = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
            if mark in before:
                after = change(before)
                if after == before:
                    raise BackupError(f"the fault changes nothing in {path.name}")
                path.write_bytes(zstandard.compress(after))
                return
        raise BackupError(f"no data file of {database} holds what the fault looks for")

    def flatten(self, database: str, kind: str) -> Path:
        """Put one flat dump and the globals in the place of all sets, as old scripts leave them; return the dump.

        kind: plain, custom or tar, as pg_dump --format names them.
        """
        stamp = self.newest.name.removeprefix(SET_PREFIX)
        globals_ = (self.newest / "globals.sql.zst").read_bytes()
        for folder in self.sets:
            self.drop(folder)
        (self.backups / f"globals-{stamp}.sql.zst").write_bytes(globals_)
        path = self.backups / f"{database}-{stamp}.{'sql' if kind == 'plain' else kind}"
        self._workshop.redump_flat(database, kind, path)
        return path

    def list_hashes(self) -> None:
        """Write a hash list that fits the flat files as they are now."""
        files = sorted(path for path in self.backups.iterdir() if path.is_file())
        lines = "".join(f"{file_sha256(path)}  {path.name}\n" for path in files)
        (self.backups / "SHA256SUMS").write_text(lines, encoding="utf-8")

    # --- volumes ------------------------------------------------------------------------------------------

    def unpacked(self, relative: str) -> bytes:
        """Return a file of the newest set, decompressed."""
        return zstandard.ZstdDecompressor().stream_reader(self.path(relative).read_bytes()).read()

    def pack(self, relative: str, data: bytes) -> None:
        """Give a file of the newest set another content, compressed."""
        self.path(relative).write_bytes(zstandard.compress(data))

    def edit_headers(self, volume: str, change: Callable[[str], dict[str, int]]) -> None:
        """Change `uid` or `gid` in the headers of an archive's members; works for every user who runs this.

        The numbers lie at bytes 108 and 116 of a header, its checksum at 148 (POSIX.1-2017, ustar). Raises
        BackupError when nothing changes.
        """
        data = bytearray(self.unpacked(f"volumes/{volume}.tar.zst"))
        places = {"uid": 108, "gid": 116}
        changed = 0
        with tarfile.open(fileobj=io.BytesIO(bytes(data))) as archive:
            for item in archive.getmembers():
                at = item.offset_data - tarfile.BLOCKSIZE
                for field, value in change(item.name).items():
                    data[at + places[field] : at + places[field] + 8] = b"%07o\0" % value
                    changed += 1
                data[at + 148 : at + 156] = b" " * 8
                data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + tarfile.BLOCKSIZE])
        if not changed:
            raise BackupError(f"the fault changes nothing in {volume}")
        self.pack(f"volumes/{volume}.tar.zst", bytes(data))

    def rearchive(self, volume: str, change: Callable[[Path], object], *, with_list: bool = False) -> None:
        """Restore a volume, change what was restored, and archive it again as a backup does.

        The list of entries stays what it was, except `with_list`.
        """
        room = Path(tempfile.mkdtemp(dir=self.directory))
        place, made = room / "volume", room / "made"
        archive, entries = self.path(f"volumes/{volume}.tar.zst"), self.path(f"volumes/{volume}.jsonl.zst")
        limits = self.target.limits
        with Restoration(
            archive, place, volumes=(volume,), limits=limits, entries={}, compression="zstd"
        ) as restoration:
            restoration.restore()
        change(place / volume)
        made.mkdir()
        create_volume_archive(place / volume, volume, made / archive.name, made / entries.name)
        archive.write_bytes((made / archive.name).read_bytes())
        if with_list:
            entries.write_bytes((made / entries.name).read_bytes())
        shutil.rmtree(room)

    # --- Vault --------------------------------------------------------------------------------------------

    def damage_vault(self, damage: Damage) -> None:
        """Put Vault's backup in the set's place, with a snapshot taken after `damage`, and declare its escrow."""
        self._declare_escrow(self.vaultshop.damaged(self.path("vault"), damage))

    def edit_escrow(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Declare a changed copy of the escrow file."""
        self._edit_escrow(self._material.directory / "escrow" / "escrow.json", change)

    def edit_shop_escrow(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Declare a changed copy of the escrow file that is declared now (after `encrypt` or `damage_vault`)."""
        if self.target.vault is None or self.target.vault.escrow is None:
            raise BackupError("the target declares no escrow")
        self._edit_escrow(self.target.vault.escrow, change)

    def _edit_escrow(self, source: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        data = json.loads(source.read_bytes())
        path = self.directory / "escrow.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(change(data)), encoding="utf-8")
        self._declare_escrow(path)

    def encrypt(self, damage: Damage | None = None) -> None:
        """Leave the newest set alone, encrypted as a backup is, and declare it; `damage`: done to Vault in between.

        Its keys are those of the shop's Vault, whose snapshot it gets, as in `damage_vault`.
        """
        for folder in self.sets[:-1]:
            self.drop(folder)
        if self.target.vault is None:
            raise BackupError("the target declares no Vault")
        transit_key = self.target.vault.transit_key
        key, wrapped = self.vaultshop.data_key(transit_key)
        place = self.path("vault")
        escrow = self.vaultshop.damaged(place, damage) if damage else self.vaultshop.backup(place)
        self._declare_escrow(escrow)
        recipient = escrow_recipient(read_escrow(escrow))
        manifest = self.manifest()
        facts = Encryption(wrapped_key=wrapped, transit_key=transit_key, escrow_recipient=recipient)
        plain = self.newest.rename(self.directory / "plain")
        sealed = self.backups / manifest.set_id
        sealed.mkdir()
        envelope = Envelope(key, parse_recipient(recipient), facts, manifest.set_id, plain)
        artifacts = tuple(
            seal_artifact(envelope, sealed, path)
            for path in sorted(plain.rglob("*"))
            if path.is_file() and path.name not in {MANIFEST_NAME, SIGNATURE_NAME}
        )
        canary = read_canary(sealed / "vault" / "canary.json").catalog  # of the shop's Vault
        (sealed / MANIFEST_NAME).write_bytes(manifest.to_json())
        self.rewrite(
            encryption=facts,
            artifacts=artifacts,
            globals_path=manifest.globals_path and manifest.globals_path + SUFFIX,
            volumes=tuple(with_suffix(entry, "archive", "entries") for entry in manifest.volumes),
            vault=manifest.vault
            and with_suffix(manifest.vault, "snapshot").model_copy(
                update={
                    "policies": tuple(sorted(canary.policies)),
                    "auth_roles": tuple(sorted(canary.auth_roles)),
                }
            ),
        )
        self.declare_backups(encrypted=True)
        if damage is None:
            self.ring = self.vaultshop.ring(self.target.vault)
        else:
            self.whole_drill = True

    def _declare_escrow(self, path: Path) -> None:
        if self.target.vault is None:
            raise BackupError("the target declares no Vault")
        vault = self.target.vault.model_copy(update={"escrow": path})
        self.target = self.target.model_copy(update={"vault": vault})

    # --- manifests ----------------------------------------------------------------------------------------

    def manifest(self, set_dir: Path | None = None) -> Manifest:
        """Return a set's manifest (default: the newest's)."""
        manifest = read_manifest(set_dir or self.newest)
        if manifest is None:
            raise BackupError("the set has no manifest")
        return manifest

    def rewrite(self, set_dir: Path | None = None, **changes: Any) -> None:
        """Change fields of a set's manifest and sign it again with the real key."""
        folder = set_dir or self.newest
        data = self.manifest(folder).model_copy(update=changes).to_json()
        (folder / MANIFEST_NAME).write_bytes(data)
        self.sign(folder, self._material.signing_key)

    def sign(self, set_dir: Path, key: Path) -> None:
        """Sign a set's manifest as it is now."""
        signature = sign_manifest((set_dir / MANIFEST_NAME).read_bytes(), key)
        (set_dir / SIGNATURE_NAME).write_bytes(signature)

    def hashes(self, set_dir: Path) -> tuple[Artifact, ...]:
        """Return what a manifest would say of the files as they are now."""
        files = [path for path in sorted(set_dir.rglob("*")) if path.is_file() and not path.is_symlink()]
        held = {item.path: item.plain for item in self.manifest(set_dir).artifacts}
        return tuple(
            Artifact(
                path=path.relative_to(set_dir).as_posix(),
                bytes=path.stat().st_size,
                sha256=file_sha256(path),
                plain=held.get(path.relative_to(set_dir).as_posix()),
            )
            for path in files
            if path.name not in {MANIFEST_NAME, SIGNATURE_NAME}
        )

    def rehash(self) -> None:
        """Make every manifest fit the files that are there, and sign it: no hash gives the damage away."""
        for folder in self.sets:
            if (folder / MANIFEST_NAME).is_file():
                self.rewrite(folder, artifacts=self.hashes(folder))

    def drop_manifests(self) -> None:
        """Delete every manifest and signature."""
        for folder in self.sets:
            for name in (MANIFEST_NAME, SIGNATURE_NAME):
                (folder / name).unlink(missing_ok=True)

    def date(self, set_dir: Path, shift: timedelta) -> Path:
        """Move a set in time: name, manifest and signature agree on the new date. Returns its new place."""
        manifest = self.manifest(set_dir)
        started = manifest.started + shift
        moved = set_dir.with_name(f"{SET_PREFIX}{started.strftime(STAMP_FORMAT)}")
        set_dir.rename(moved)
        self.rewrite(moved, set_id=moved.name, started=started, finished=manifest.finished + shift)
        return moved

    def apply(self, variant: Variant) -> None:
        """Bring the manifests into the state that a variant asks for."""
        if variant is Variant.REHASHED:
            self.rehash()
        elif variant is Variant.WITHOUT_MANIFEST:
            self.drop_manifests()
