"""F50 to F56: archives that attack the machine they are unpacked on, and volumes that lost what they were."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

from smos.faults.dr.workspace import Workspace
from smos.faults.registry import Expectation, Variant, caught, fault
from smos.verdict import Verdict

ROOT_VOLUMES = ("n8n_data",)
NOT_PROVEN = Verdict.NOT_PROVEN
BYTES = ("hash-mismatch", "size-mismatch")
MIB = 2**20
ACL_NAME = "system.posix_acl_access"
ACL = bytes.fromhex(
    "02000000 01000600ffffffff 02000400d2040000 04000400ffffffff 10000600ffffffff 20000400ffffffff"
)
"""A POSIX ACL as Linux stores it (linux/posix_acl_xattr.h): the user 1234 may read as well."""


def damage(codes: str | tuple[str, ...], volume: str) -> tuple[Expectation, ...]:
    """Return expectations for damage inside an archive: by its bytes, and by its entries in every variant."""
    return (
        caught("DR-02", BYTES, f"{volume}.tar.zst"),
        *(caught("DR-04", codes, volume, variant=variant) for variant in Variant),
    )


def hostile(
    work: Workspace, volume: str, members: Callable[[Path], list[tuple[tarfile.TarInfo, bytes]]]
) -> None:
    """Append members to an archive, which aim at a canary outside of every sandbox."""
    outside = work.directory / "outside"
    outside.mkdir()
    canary = outside / "canary"
    canary.write_text("untouched", encoding="utf-8")
    before = _state(outside)
    path = work.directory / "hostile.tar"
    path.write_bytes(work.unpacked(f"volumes/{volume}.tar.zst"))
    with tarfile.open(path, "a") as archive:
        for info, data in members(canary):
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    work.pack(f"volumes/{volume}.tar.zst", path.read_bytes())

    def reached() -> str:
        return "" if _state(outside) == before else "something outside of the sandbox was written"

    work.attacked = reached


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """Return a member of an archive."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o666
    return info


def _state(folder: Path) -> list[tuple[str, int, int, bytes]]:
    return [
        (path.name, path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
    ]


@fault(
    "F50a",
    "A member climbs out with ../",
    "archive",
    damage("volume-escape-refused", "n8n_data"),
    volumes=ROOT_VOLUMES,
)
def climbing(work: Workspace) -> None:
    """Name a file outside by a path that climbs to the root and down again."""
    hostile(work, "n8n_data", lambda canary: [(member("../" * 30 + str(canary)[1:]), b"overwritten")])


@fault(
    "F50b",
    "A member has an absolute path",
    "archive",
    damage("volume-escape-refused", "n8n_data"),
    volumes=ROOT_VOLUMES,
)
def absolute(work: Workspace) -> None:
    """Name a file outside by its absolute path."""
    hostile(work, "n8n_data", lambda canary: [(member(str(canary)), b"overwritten")])


@fault(
    "F51a",
    "A symbolic link leads out, and a member goes through it",
    "archive",
    damage("volume-escape-refused", "n8n_data"),
    volumes=ROOT_VOLUMES,
)
def through_link(work: Workspace) -> None:
    """Lay a link to the directory outside, then write through it."""
    hostile(
        work,
        "n8n_data",
        lambda canary: [
            (member("way-out", tarfile.SYMTYPE, str(canary.parent)), b""),
            (member("way-out/canary"), b"overwritten"),
            (member("way-out/new"), b"new"),
        ],
    )


@fault(
    "F51b",
    "A hard link takes a file outside in, and a member overwrites it",
    "archive",
    damage("volume-escape-refused", "n8n_data"),
    volumes=ROOT_VOLUMES,
)
def hard_link(work: Workspace) -> None:
    """Link to the file outside, then write to the link."""
    hostile(
        work,
        "n8n_data",
        lambda canary: [
            (member("mine", tarfile.LNKTYPE, "../" * 30 + str(canary)[1:]), b""),
            (member("mine"), b"overwritten"),
        ],
    )


@fault(
    "F52a",
    "An archive bomb: a few KB that expand without end",
    "archive",
    damage("archive-bomb", "n8n_data"),
    volumes=ROOT_VOLUMES,
)
def bomb(work: Workspace) -> None:
    """Append 48 MiB of zeros; the target allows 32 MiB, and a ratio of 100."""
    work.declare_limits(bytes=32 * MIB, ratio=100)
    hostile(work, "n8n_data", lambda _canary: [(member("zeros"), bytes(48 * MIB))])


@fault(
    "F52b",
    "An archive of too many files",
    "archive",
    damage("archive-bomb", "n8n_data"),
    volumes=ROOT_VOLUMES,
)
def too_many(work: Workspace) -> None:
    """Append 3,000 empty files; the target allows 2,000."""
    work.declare_limits(files=2000)
    hostile(work, "n8n_data", lambda _canary: [(member(f"many/{number}"), b"") for number in range(3000)])


@fault("F53a", "Owners are lost", "volume", damage("owner-differs", "n8n_data"), volumes=("n8n_data",))
def owner_lost(work: Workspace) -> None:
    """Give every member to root, as a copy does that was made without owners."""
    work.edit_headers("n8n_data", lambda _name: {"uid": 0})


@fault(
    "F53b",
    "The group of one file is lost",
    "volume",
    damage("group-differs", "n8n_data"),
    volumes=ROOT_VOLUMES,
)
def group_lost(work: Workspace) -> None:
    """Lose the group of the configuration."""
    work.edit_headers("n8n_data", lambda name: {"gid": 0} if name.endswith("config") else {})


@fault(
    "F53c",
    "The mode of a secret file is lost",
    "volume",
    damage("mode-differs", "n8n_data"),
    volumes=ROOT_VOLUMES,
)
def mode_lost(work: Workspace) -> None:
    """Let everybody read the file that holds the encryption key."""
    work.rearchive("n8n_data", lambda root: (root / "config").chmod(0o644))


@fault(
    "F53d",
    "The mode of the volume's root is lost",
    "volume",
    damage("mode-differs", "n8n_data"),
    volumes=ROOT_VOLUMES,
)
def root_mode_lost(work: Workspace) -> None:
    """Restore the root directory as mkdir made it."""
    work.rearchive("n8n_data", lambda root: root.chmod(0o755))


@fault(
    "F54a",
    "Extended attributes are lost",
    "volume",
    damage("xattr-lost", "odoo-web-data"),
    volumes=("odoo-web-data",),
)
def attribute_lost(work: Workspace) -> None:
    """Archive without attributes, as tar does without --xattrs-include."""
    work.rearchive("odoo-web-data", lambda root: os.removexattr(root / "addons" / "run.sh", "user.smarteros"))


@fault(
    "F54b",
    "An access list is lost",
    "volume",
    damage("xattr-lost", "chatwoot-data"),
    volumes=("chatwoot-data",),
)
def access_list_lost(work: Workspace) -> None:
    """Archive without ACLs, as tar does without --acls, a volume in which one user more might read a file."""

    def grant(root: Path) -> None:
        os.setxattr(root / "storage" / "adjunto-007.txt", ACL_NAME, ACL)

    work.rearchive("chatwoot-data", grant, with_list=True)
    work.rearchive(
        "chatwoot-data", lambda root: os.removexattr(root / "storage" / "adjunto-007.txt", ACL_NAME)
    )


@fault(
    "F55a",
    "Files were skipped as unreadable",
    "volume",
    damage("entry-missing", "odoo-web-data"),
    volumes=("odoo-web-data",),
)
def files_skipped(work: Workspace) -> None:
    """Leave out a directory that the backup's user could not enter."""
    work.rearchive("odoo-web-data", lambda root: _remove(root / "addons"))


@fault(
    "F55b",
    "A file's content is changed",
    "volume",
    damage("content-differs", "chatwoot-data"),
    volumes=("chatwoot-data",),
)
def content_changed(work: Workspace) -> None:
    """Change one letter; size and time stay."""
    work.rearchive("chatwoot-data", lambda root: _letter(root / "storage" / "adjunto-007.txt"))


@fault(
    "F55c",
    "A symbolic link points elsewhere",
    "volume",
    damage("link-target-differs", "chatwoot-data"),
    volumes=("chatwoot-data",),
)
def link_changed(work: Workspace) -> None:
    """Point a link at another file."""

    def change(root: Path) -> None:
        link = root / "storage" / "latest"
        link.unlink()
        link.symlink_to("adjunto-001.txt")

    work.rearchive("chatwoot-data", change)


@fault(
    "F55d",
    "A hard link became a copy",
    "volume",
    damage("hard-link-broken", "odoo-web-data"),
    volumes=("odoo-web-data",),
)
def hard_link_lost(work: Workspace) -> None:
    """Copy what was linked."""

    def change(root: Path) -> None:
        link = root / "hard-link-to-a-document"
        data, status = link.read_bytes(), link.stat()
        link.unlink()
        link.write_bytes(data)
        link.chmod(status.st_mode & 0o7777)
        os.chown(link, status.st_uid, status.st_gid)

    work.rearchive("odoo-web-data", change)


@fault(
    "F55e",
    "A file came in that was never there",
    "volume",
    damage("entry-extra", "chatwoot-data"),
    volumes=("chatwoot-data",),
)
def file_added(work: Workspace) -> None:
    """Add a file, as who tampers with a backup does."""
    work.rearchive("chatwoot-data", lambda root: _write(root / "storage" / "backdoor.sh", b"#!/bin/sh\n"))


@fault(
    "F55f",
    "A file became a directory",
    "volume",
    damage("entry-type-differs", "chatwoot-data"),
    volumes=("chatwoot-data",),
)
def type_changed(work: Workspace) -> None:
    """Put a directory in the place of a file."""

    def change(root: Path) -> None:
        path = root / "storage" / "adjunto-007.txt"
        path.unlink()
        path.mkdir()

    work.rearchive("chatwoot-data", change)


@fault(
    "F55g",
    "The list of entries is missing",
    "manifest",
    caught("DR-02", "missing-artifact", "n8n_data.jsonl.zst"),
    caught("DR-04", "no-manifest", "n8n_data", verdict=NOT_PROVEN),
    volumes=ROOT_VOLUMES,
)
def list_missing(work: Workspace) -> None:
    """Lose the list that says what the archive must hold."""
    work.drop(work.path("volumes/n8n_data.jsonl.zst"))


@fault(
    "F56a",
    "The copy was torn: a row names a file that the volume does not have",
    "volume",
    *(
        caught("DR-04", "reference-missing-file", "every attachment has its file", variant=variant)
        for variant in Variant
    ),
    databases=("chatwoot",),
    volumes=("chatwoot-data",),
)
def torn(work: Workspace) -> None:
    """Archive the volume before the service wrote a file: archive and list agree, the database knows better."""
    work.rearchive(
        "chatwoot-data", lambda root: (root / "storage" / "adjunto-030.txt").unlink(), with_list=True
    )


@fault(
    "F56b",
    "A file changed while it was archived",
    "volume",
    caught("DR-04", "torn-while-reading", "n8n_data", verdict=NOT_PROVEN),
    caught("DR-04", "torn-while-reading", "n8n_data", verdict=NOT_PROVEN, variant=Variant.REHASHED),
    volumes=ROOT_VOLUMES,
)
def torn_while_reading(work: Workspace) -> None:
    """Mark a file in the list as the backup marks one that a service wrote to meanwhile."""
    work.edit_text(
        work.path("volumes/n8n_data.jsonl.zst"),
        lambda text: "".join(
            f'{line[:-1]},"torn":true}}\n' if '"sha256"' in line else f"{line}\n"
            for line in text.splitlines()
        ),
    )


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _letter(path: Path) -> None:
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
