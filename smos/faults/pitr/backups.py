"""F41 to F44, F41x: base backups that are incomplete, altered, hostile, or built from the wrong links."""

# A fault's docstring says what is broken.
# ruff: noqa: D401

import gzip
import hashlib
import io
import re
import shutil
import tarfile

from smos.faults.pitr.kinds import Kind
from smos.faults.pitr.pages import PAGE
from smos.faults.pitr.workspace import SEGMENT, PitrWorkspace
from smos.faults.registry import caught, fault
from smos.physical.wal import lsn_number, lsn_text, segment_name, split_name
from smos.selftest.pitr import DIRECTORY, FIRST, SECOND, TAR
from smos.verdict import Verdict

BUYER, HOLIDAY = "Compañía Ñuñoa", "Virgen de la Tirana"


def _flip(page: bytes) -> bytes:
    at = page.rindex("Ñuñoa".encode())
    return page[:at] + b"X" + page[at + 1 :]


def _reword(page: bytes) -> bytes:
    """Another name of the same length: a value changes, nothing else."""
    at = page.rindex("Ñuñoa".encode())
    return page[:at] + "Ñuñea".encode() + page[at + len("Ñuñoa".encode()) :]


@fault("F41", "A page of a table is damaged", "base backup", caught("PITR-01", "file-altered", "base/"))
def page_damaged(work: PitrWorkspace) -> None:
    """One byte."""
    path, block = work.find(BUYER)
    work.edit_page(path, block, _flip, fits=False)


@fault("F41a", "A page of a table is damaged, and the manifest made to fit", "base backup",
       caught("PITR-05", "page-damaged", "base/"))  # fmt: skip
def page_damaged_rehashed(work: PitrWorkspace) -> None:
    """The page's own checksum tells."""
    page_damaged(work)
    work.rehash()


@fault("F41b", "A value is changed, and page checksum and manifest made to fit", "base backup",
       caught("PITR-08", "values-changed", "app.orders"))  # fmt: skip
def value_changed(work: PitrWorkspace) -> None:
    """Every checksum agrees: only the source's content can tell."""
    path, block = work.find(BUYER)
    work.edit_page(path, block, _reword)
    work.rehash()


@fault("F41c", "A page of a table is empty, and the manifest made to fit", "base backup",
       caught("PITR-05", "page-blank", "app.orders"), caught("PITR-08", "rows-missing", "app.orders"))  # fmt: skip
def page_zeroed(work: PitrWorkspace) -> None:
    """PostgreSQL takes a page of zeros for a new one: no checksum is wrong."""
    path, block = work.find(BUYER)
    work.edit_page(path, block, lambda page: bytes(len(page)))
    work.rehash()


@fault("F41d", "A key in an index is changed, and every checksum made to fit", "base backup",
       caught("PITR-05", "amcheck-failed", "orders"))  # fmt: skip
def key_changed(work: PitrWorkspace) -> None:
    """The table's row is not in the index any more."""
    path, block = work.find(BUYER, index=True)
    work.edit_page(path, block, _reword)
    work.rehash()


@fault("F41e", "A page of a table is damaged, and there is no manifest", "base backup",
       caught("PITR-05", "page-damaged", "base/"))  # fmt: skip
def page_damaged_alone(work: PitrWorkspace) -> None:
    """As a copy of the data directory would be."""
    page_damaged(work)
    (work.backup() / "backup_manifest").unlink()


@fault("F41f", "A table ends earlier, and the manifest made to fit", "base backup",
       caught("PITR-05", "relation-short", "app.holidays"))  # fmt: skip
def table_cut(work: PitrWorkspace) -> None:
    """Between two pages, so that what is left is sound."""
    path, _ = work.find(HOLIDAY)
    path.write_bytes(path.read_bytes()[:PAGE])
    work.rehash()


@fault("F41g", "A table's file is gone, and the manifest made to fit", "base backup",
       caught("PITR-05", "relation-missing", "template0"))  # fmt: skip
def table_gone(work: PitrWorkspace) -> None:
    """In the template of new databases, where nobody looks."""
    (work.backup() / "base" / "4" / "3602").unlink()  # pg_ts_config
    work.rehash()


@fault("F41h", "The status of transactions is gone, and the manifest made to fit", "base backup",
       caught("PITR-01", "xact-missing", "pg_xact/0000"))  # fmt: skip
def status_gone(work: PitrWorkspace) -> None:
    """A server that replays the log takes it for zeros."""
    (work.backup() / "pg_xact" / "0000").unlink()
    work.rehash()


@fault("F41i", "The status of transactions is blank, and the manifest made to fit", "base backup",
       caught("PITR-01", "xact-blank", "none has ended", verdict=Verdict.NOT_PROVEN))  # fmt: skip
def status_blank(work: PitrWorkspace) -> None:
    """All of them seem to run for ever."""
    path = work.backup() / "pg_xact" / "0000"
    path.write_bytes(bytes(path.stat().st_size))
    work.rehash()


@fault("F42", "The manifest is altered", "manifest", caught("PITR-01", "manifest-altered", "checksum"))
def manifest_altered(work: PitrWorkspace) -> None:
    """An entry is taken out of it."""
    path = work.backup() / "backup_manifest"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"base/1/1255"' not in line))


@fault("F42a", "There is no manifest", "manifest",
       caught("PITR-01", "manifest-absent", DIRECTORY, verdict=Verdict.NOT_PROVEN))  # fmt: skip
def manifest_absent(work: PitrWorkspace) -> None:
    """Nothing says what there should be."""
    (work.backup() / "backup_manifest").unlink()


@fault(
    "F42b",
    "The manifest is another backup's",
    "manifest",
    caught("PITR-01", ("file-altered", "manifest-altered")),
)
def manifest_of_another(work: PitrWorkspace) -> None:
    """A valid one, of the day before."""
    work.use(Kind.BOTH)
    shutil.copy(work.backup(TAR) / "backup_manifest", work.backup() / "backup_manifest")
    shutil.rmtree(work.backup(TAR))


@fault("F42c", "The manifest is no manifest", "manifest", caught("PITR-01", "manifest-damaged", DIRECTORY))
def manifest_garbage(work: PitrWorkspace) -> None:
    """Cut in half."""
    path = work.backup() / "backup_manifest"
    path.write_bytes(path.read_bytes()[:5000])


@fault("F42d", "The label is another backup's, and the manifest made to fit", "manifest",
       caught("PITR-01", "parts-mixed", DIRECTORY))  # fmt: skip
def label_of_another(work: PitrWorkspace) -> None:
    """A later one's: a server would leave out the log between."""
    path = work.backup() / "backup_label"
    text = path.read_text()
    start, name = text.partition("LOCATION: ")[2].split(" ", 1)[0], text.partition("(file ")[2][:24]
    timeline, number = split_name(name, SEGMENT)
    later = lsn_text(lsn_number(start) + SEGMENT)
    path.write_text(text.replace(start, later).replace(name, segment_name(timeline, number + 1, SEGMENT)))
    work.rehash()


@fault("F42e", "The manifest holds no checksums", "manifest",
       caught("PITR-01", "manifest-unhashed", DIRECTORY, verdict=Verdict.NOT_PROVEN))  # fmt: skip
def manifest_unhashed(work: PitrWorkspace) -> None:
    """As --manifest-checksums=NONE writes it: a changed page has the right size."""
    path = work.backup() / "backup_manifest"
    text = re.sub(r', "Checksum-Algorithm": "SHA256", "Checksum": "[0-9a-f]+"', "", path.read_text())
    head = text.partition('"Manifest-Checksum"')[0]
    path.write_text(f'{head}"Manifest-Checksum": "{hashlib.sha256(head.encode()).hexdigest()}"}}\n')


@fault("F43", "backup_label is missing", "base backup", caught("PITR-01", "label-missing", DIRECTORY))
def label_missing(work: PitrWorkspace) -> None:
    """Copied by somebody who took it for clutter; a server would come up, with damaged data."""
    (work.backup() / "backup_label").unlink()


@fault("F43a", "backup_label is missing from the tar", "base backup", caught("PITR-01", "label-missing", TAR))
def label_missing_in_tar(work: PitrWorkspace) -> None:
    """The tar was packed anew without it."""
    work.use(Kind.TAR)
    _repack(work, lambda member, data: None if member.name == "backup_label" else (member, data))


@fault("F43b", "backup_label is cut", "base backup", caught("PITR-01", "label-damaged", DIRECTORY))
def label_cut(work: PitrWorkspace) -> None:
    """Its first line is gone."""
    path = work.backup() / "backup_label"
    path.write_text(path.read_text().partition("\n")[2])


@fault(
    "F44",
    "A tablespace is missing from the set of tars",
    "base backup",
    caught("PITR-01", "tablespace-missing"),
)
def tablespace_tar_missing(work: PitrWorkspace) -> None:
    """Only base.tar was carried away."""
    work.use(Kind.TAR)
    next(path for path in work.backup(TAR).iterdir() if path.name[0].isdecimal()).unlink()


@fault(
    "F44a",
    "A tablespace's directory is gone",
    "base backup",
    caught("PITR-01", "tablespace-missing", "pg_tblspc/"),
)
def tablespace_gone(work: PitrWorkspace) -> None:
    """The link leads nowhere."""
    shutil.rmtree(work.place / f"{DIRECTORY}-spaces")


@fault("F44b", "A tablespace lies outside of the store", "base backup",
       caught("PITR-01", "tablespace-outside", "/etc", verdict=Verdict.NOT_PROVEN))  # fmt: skip
def tablespace_outside(work: PitrWorkspace) -> None:
    """A link that is not followed."""
    link = next((work.backup() / "pg_tblspc").iterdir())
    link.unlink()
    link.symlink_to("/etc")


@fault("F44c", "A tablespace is empty", "base backup", caught("PITR-01", "file-missing", "pg_tblspc/"))
def tablespace_empty(work: PitrWorkspace) -> None:
    """The directory is there, its files are not."""
    for path in (work.place / f"{DIRECTORY}-spaces").rglob("*"):
        if path.is_file():
            path.unlink()


@fault("F44d", "The link of a tablespace is gone, and the manifest made to fit", "base backup",
       caught("PITR-03", "moment-not-reached", "pg_tblspc"))  # fmt: skip
def tablespace_link_gone(work: PitrWorkspace) -> None:
    """The log speaks of a tablespace that is not there."""
    next((work.backup() / "pg_tblspc").iterdir()).unlink()
    work.rehash()


@fault(
    "F410",
    "A link of the incremental chain is missing",
    "chain",
    caught("PITR-01", "chain-link-missing", SECOND),
)
def chain_link_missing(work: PitrWorkspace) -> None:
    """Pruned by age, one by one."""
    work.use(Kind.CHAIN)
    shutil.rmtree(work.backup(FIRST))


@fault(
    "F410a",
    "The full backup of the chain is missing",
    "chain",
    caught("PITR-01", "chain-link-missing", FIRST),
)
def chain_full_missing(work: PitrWorkspace) -> None:
    """What everything builds on."""
    work.use(Kind.CHAIN)
    shutil.rmtree(work.backup(DIRECTORY))


@fault("F411", "A chain is combined from the wrong parent, and everything made to fit", "chain",
       caught("PITR-08", ("values-changed", "rows-missing", "rows-extra", "not-recovered", "content-unread"),
              verdict=Verdict.FAIL))  # fmt: skip
def chain_wrong_parent(work: PitrWorkspace) -> None:
    """The link between is left out, and the label of the last one says that it never was."""
    work.use(Kind.CHAIN)
    old = (work.backup(FIRST) / "backup_label").read_text()
    full = (work.backup(DIRECTORY) / "backup_label").read_text()
    start = "START WAL LOCATION: "
    was, now = (text.partition(start)[2].partition(" ")[0] for text in (old, full))
    path = work.backup(SECOND) / "backup_label"
    path.write_text(path.read_text().replace(f"INCREMENTAL FROM LSN: {was}", f"INCREMENTAL FROM LSN: {now}"))
    shutil.rmtree(work.backup(FIRST))
    work.rehash(SECOND)


@fault("F412", "An incremental file is altered", "chain", caught("PITR-01", "file-altered", "INCREMENTAL"))
def incremental_altered(work: PitrWorkspace) -> None:
    """In the link between."""
    work.use(Kind.CHAIN)
    path = max(work.backup(FIRST).rglob("INCREMENTAL.*"), key=lambda item: item.stat().st_size)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


@fault("F413", "The full backup of the chain is altered", "chain", caught("PITR-01", "file-altered", "base/"))
def chain_full_altered(work: PitrWorkspace) -> None:
    """A file that the later links do not replace."""
    work.use(Kind.CHAIN)
    page_damaged(work)


@fault("F414", "A tar is cut", "base backup", caught("PITR-01", "tar-damaged", "base.tar"))
def tar_cut(work: PitrWorkspace) -> None:
    """A copy that broke off."""
    work.use(Kind.TAR)
    path = work.backup(TAR) / "base.tar.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@fault(
    "F415",
    "A tar holds a path that leaves the directory",
    "hostile",
    caught("PITR-01", "path-refused", "canary"),
)
def tar_climbs(work: PitrWorkspace) -> None:
    """`../…` up to a file outside, which must stay absent."""
    work.use(Kind.TAR)
    _repack(work, extra=[("../" * 12 + str(work.canary).lstrip("/"), None), (str(work.canary), None)])


@fault("F415a", "A tar holds a link", "hostile", caught("PITR-01", "link-refused", "pg_commit_ts/out"))
def tar_link(work: PitrWorkspace) -> None:
    """A link to the outside, and a file behind it."""
    work.use(Kind.TAR)
    _repack(work, extra=[("pg_commit_ts/out", str(work.canary.parent)), ("pg_commit_ts/out/canary", None)])


@fault("F416", "A base backup holds a link that PostgreSQL never makes", "hostile",
       caught("PITR-01", "link-refused", "global/9999"))  # fmt: skip
def directory_link(work: PitrWorkspace) -> None:
    """Whoever follows it copies another file into the sandbox."""
    (work.backup() / "global" / "9999").symlink_to("/etc/passwd")


@fault(
    "F417",
    "Settings are put into the backup",
    "hostile",
    caught("PITR-01", "settings-altered", "postgresql.auto.conf"),
)
def settings_put(work: PitrWorkspace) -> None:
    """A command that a server would run."""
    with (work.backup() / "postgresql.auto.conf").open("a") as file:
        file.write(f"restore_command = 'touch {work.canary}'\n")


@fault(
    "F417a",
    "A signal file is put into the backup",
    "hostile",
    caught("PITR-01", "signal-added", "standby.signal"),
)
def signal_put(work: PitrWorkspace) -> None:
    """A server would go on as a standby, and never open."""
    (work.backup() / "standby.signal").touch()


@fault("F418", "The backup is of a version that is not here", "base backup",
       caught("PITR-01", "no-installation", "99", verdict=Verdict.NOT_PROVEN))  # fmt: skip
def unknown_version(work: PitrWorkspace) -> None:
    """A gap of the sandbox, not of the backup."""
    (work.backup() / "PG_VERSION").write_text("99\n")
    work.rehash()


@fault("F419", "The control file is damaged, and the manifest made to fit", "base backup",
       caught("PITR-01", "control-damaged", DIRECTORY))  # fmt: skip
def control_damaged(work: PitrWorkspace) -> None:
    """Its own checksum tells."""
    path = work.backup() / "global" / "pg_control"
    data = bytearray(path.read_bytes())
    data[64] ^= 0xFF
    path.write_bytes(data)
    work.rehash()


@fault("F420", "There is no base backup", "base backup", caught("PITR-01", "no-base-backup"))
def no_backup(work: PitrWorkspace) -> None:
    """An archive alone restores nothing."""
    shutil.rmtree(work.backup())


@fault("F421", "The directory of the backups is not there", "base backup",
       caught("PITR-01", "backups-missing", verdict=Verdict.NOT_PROVEN))  # fmt: skip
def directory_gone(work: PitrWorkspace) -> None:
    """Not mounted."""
    shutil.rmtree(work.place)


@fault("F422", "Backups of two clusters lie in one store", "base backup", caught("PITR-01", "cluster-mixed"))
def two_clusters(work: PitrWorkspace) -> None:
    """The newest is not ours."""
    work.use(Kind.BOTH)
    path = work.backup() / "global" / "pg_control"
    data = bytearray(path.read_bytes())
    data[0] ^= 0xFF
    path.write_bytes(data)


def _repack(work: PitrWorkspace, keep=None, extra=()) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Pack base.tar.gz anew. keep: (member, data) to what is packed; extra: (name, target of a link or None)."""
    path = work.backup(TAR) / "base.tar.gz"
    out = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for member in old:
            file = old.extractfile(member) if member.isreg() else None
            pair = (member, file.read() if file else b"")
            pair = keep(*pair) if keep else pair
            if pair is not None:
                new.addfile(pair[0], io.BytesIO(pair[1]) if pair[0].isreg() else None)
        for name, target in extra:
            member = tarfile.TarInfo(name)
            if target is None:
                member.size = 4
                new.addfile(member, io.BytesIO(b"evil"))
            else:
                member.type, member.linkname = tarfile.SYMTYPE, target
                new.addfile(member)
    path.write_bytes(gzip.compress(out.getvalue(), 1))
