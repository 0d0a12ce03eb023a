"""F01 to F17: backup sets that are missing, late, cut, changed, forged or encrypted."""

import hashlib
import os
from datetime import timedelta

import zstandard

from smos.backup.signing import generate_keypair
from smos.faults.dr.workspace import Workspace
from smos.faults.registry import Variant, caught, everywhere, fault
from smos.verdict import Verdict

NOT_PROVEN = Verdict.NOT_PROVEN
DAY = timedelta(days=1)
HASHES = ("hash-mismatch", "size-mismatch")
CUT = ("compression-truncated", "compression-corrupt")

ODOO = "volumes/odoo-web-data.tar.zst"


def noise(size: int) -> bytes:
    """Return bytes that look random, the same ones every time."""
    return hashlib.shake_256(b"noise").digest(size)


@fault(
    "F01a",
    "A database is missing from the newest set",
    "backup set",
    caught("DR-01", "missing-database", "chatwoot"),
    caught("DR-02", "missing-artifact", "databases/chatwoot"),
    caught("DR-03", "database-missing", "chatwoot"),
    caught("DR-01", "missing-database", "chatwoot", variant=Variant.REHASHED),
    databases=("chatwoot", "n8n"),
)
def database_missing(work: Workspace) -> None:
    """Leave out what the job skipped."""
    work.drop(work.path("databases/chatwoot"))


@fault(
    "F01b",
    "A volume is missing from the newest set",
    "backup set",
    caught("DR-01", "missing-volume", "odoo-web-data"),
    caught("DR-02", "missing-artifact", ODOO),
    caught("DR-04", "volume-missing", "odoo-web-data"),
    caught("DR-04", "volume-missing", "odoo-web-data", variant=Variant.REHASHED),
    volumes=("odoo-web-data",),
)
def volume_missing(work: Workspace) -> None:
    """Leave a volume out."""
    work.drop(work.path(ODOO))
    work.drop(work.path("volumes/odoo-web-data.jsonl.zst"))


@fault(
    "F01c",
    "Vault's snapshot is missing from the newest set",
    "backup set",
    caught("DR-01", "missing-vault", "Vault"),
    caught("DR-02", "missing-artifact", "vault/raft.snap"),
    caught("DR-06", "vault-snapshot-missing"),
)
def vault_missing(work: Workspace) -> None:
    """Leave Vault out."""
    work.drop(work.path("vault"))


@fault(
    "F01d",
    "There is no backup at all",
    "backup set",
    caught("DR-01", "no-backup", "is empty"),
    caught("DR-02", "nothing-inspected", verdict=NOT_PROVEN),
    caught("DR-03", "nothing-restored", verdict=NOT_PROVEN),
    caught("DR-04", "volume-missing", "n8n_data"),
    caught("DR-05", ("service-unhealthy", "service-unknown", "smoke-not-asked"), verdict=Verdict.FAIL),
    caught("DR-06", "vault-snapshot-missing"),
    caught("DR-07", "rto-not-measured", verdict=NOT_PROVEN),
    caught("DR-08", "no-dated-backup", verdict=NOT_PROVEN),
)
def no_backup(work: Workspace) -> None:
    """Empty the backup directory."""
    for path in work.sets:
        work.drop(path)


@fault(
    "F01e",
    "The backup directory is not mounted",
    "backup set",
    caught("DR-01", "backup-directory-missing", verdict=NOT_PROVEN),
    caught("DR-02", "nothing-inspected", verdict=NOT_PROVEN),
    caught("DR-08", "backup-directory-missing", verdict=NOT_PROVEN),
)
def not_mounted(work: Workspace) -> None:
    """Take the directory away."""
    work.drop(work.backups)


@fault("F02", "A day is missing in the sequence", "schedule", caught("DR-01", "gap-in-sequence"))
def day_missing(work: Workspace) -> None:
    """Skip a night."""
    work.drop(work.sets[3])


@fault(
    "F03",
    "The newest backup is two days old",
    "schedule",
    caught("DR-01", "stale-backup", "h before the drill"),
    caught("DR-07", "rpo-exceeded", "heartbeat"),
    databases=("n8n",),
)
def stale(work: Workspace) -> None:
    """Let the job fail two nights running."""
    for path in work.sets[-2:]:
        work.drop(path)


@fault("F04", "A backup is dated in the future", "schedule", caught("DR-01", "future-stamp", "in the future"))
def from_the_future(work: Workspace) -> None:
    """Let the host's clock run two days ahead."""
    work.date(work.newest, 2 * DAY)


@fault(
    "F05",
    "Old files were copied and look fresh",
    "schedule",
    caught("DR-01", "stale-backup"),
)
def refreshed(work: Workspace) -> None:
    """Touch every file of the newest set that is left: what counts is the time inside."""
    for path in work.sets[-2:]:
        work.drop(path)
    for path in work.newest.rglob("*"):
        os.utime(path, (work.now.timestamp(), work.now.timestamp()))


@fault("F06a", "An archive has zero bytes", "bytes", everywhere("DR-02", "empty-file", "n8n_data.tar.zst"))
def zero_bytes(work: Workspace) -> None:
    """Leave what a failed job leaves."""
    work.replace(work.path("volumes/n8n_data.tar.zst"), b"")


@fault(
    "F06b",
    "A dump is an empty gzip of 20 bytes",
    "bytes",
    caught("DR-01", "empty-content", "n8n"),
    caught("DR-02", "empty-content", "n8n"),
)
def empty_gzip(work: Workspace) -> None:
    """Write what `pg_dump | gzip` leaves when pg_dump fails and the pipe exits 0."""
    stamp = work.newest.name.removeprefix("smos-")
    empty = bytes.fromhex("1f8b08000000000000030300000000000000 0000".replace(" ", ""))
    work.replace(work.backups / f"n8n-{stamp}.sql.gz", empty)
    work.every_set = True


@fault(
    "F06c",
    "A list of entries and its archive are empty",
    "bytes",
    everywhere("DR-02", ("empty-content", "tar-damaged"), "n8n_data.tar.zst"),
)
def empty_archive(work: Workspace) -> None:
    """Archive an unmounted volume."""
    work.replace(work.path("volumes/n8n_data.tar.zst"), zstandard.compress(b""))
    work.replace(work.path("volumes/n8n_data.jsonl.zst"), zstandard.compress(b""))


@fault("F07", "The newest set is a fraction of the usual size", "bytes", caught("DR-01", "size-collapse"))
def collapsed(work: Workspace) -> None:
    """Leave most of every database and volume out."""
    files = [path for path in work.newest.rglob("*.zst") if path.stat().st_size > 2000]
    for path in files:
        work.drop(path)


@fault("F08a", "A set is kept too long", "retention", caught("DR-08", "kept-too-long", "10.0 days old"))
def kept_too_long(work: Workspace) -> None:
    """Keep a set three days beyond its time."""
    work.date(work.sets[0], -3 * DAY)


@fault(
    "F08b",
    "The older sets were pruned too early",
    "retention",
    caught("DR-08", ("kept-too-short", "last-verified-removed")),
)
def kept_too_short(work: Workspace) -> None:
    """Prune the first half of the week, and with it the last set that a drill had verified."""
    work.last_verified = work.sets[1].name
    for path in work.sets[:4]:
        work.drop(path)


@fault(
    "F09a",
    "An artifact can't be read",
    "bytes",
    caught("DR-01", "unreadable", ODOO, verdict=NOT_PROVEN),
    caught("DR-02", "unreadable", ODOO, verdict=NOT_PROVEN),
)
def unreadable(work: Workspace) -> None:
    """Take the right to read away from the user who runs the drill."""
    work.path(ODOO).chmod(0)
    work.unprivileged = True


@fault(
    "F09b",
    "A file of unknown type lies among the backups",
    "backup set",
    caught("DR-01", "unknown-file", "notas.dat", verdict=NOT_PROVEN),
)
def unknown_type(work: Workspace) -> None:
    """Put something there that is no backup."""
    work.replace(work.backups / "notas.dat", b"llamar al proveedor el lunes\n")


@fault(
    "F09c",
    "A set has a name without a date",
    "backup set",
    caught("DR-01", "no-stamp", "smos-latest", verdict=NOT_PROVEN, variant=Variant.WITHOUT_MANIFEST),
    caught("DR-08", "no-stamp", "smos-latest", verdict=NOT_PROVEN, variant=Variant.WITHOUT_MANIFEST),
    caught("DR-01", "stamp-mismatch", "smos-latest"),
)
def no_date(work: Workspace) -> None:
    """Name a set by hand."""
    work.sets[0].rename(work.backups / "smos-latest")


@fault(
    "F09d",
    "An old set was given a new name",
    "backup set",
    caught("DR-01", "stamp-mismatch", "its manifest is that of"),
    caught("DR-02", "stamp-mismatch", "its manifest is that of"),
)
def renamed(work: Workspace) -> None:
    """Pass last week's set off as today's."""
    name = work.newest.name
    work.drop(work.newest)
    work.sets[0].rename(work.backups / name)
    work.every_set = True


@fault("F10a", "The second copy is absent", "offsite", caught("DR-01", "offsite-missing", verdict=NOT_PROVEN))
def offsite_absent(work: Workspace) -> None:
    """Declare a second copy that nobody makes."""
    work.declare_backups(offsite=work.directory / "offsite")


@fault(
    "F10b",
    "The second copy is incomplete",
    "offsite",
    caught("DR-01", "offsite-incomplete", "vault/raft.snap"),
)
def offsite_incomplete(work: Workspace) -> None:
    """Lose one file on the way."""
    copy = work.copy_offsite()
    work.drop(copy / work.newest.name / "vault" / "raft.snap")


@fault("F10c", "The second copy differs", "offsite", caught("DR-01", "offsite-different", "raft.snap"))
def offsite_different(work: Workspace) -> None:
    """Damage one byte on the way; the size is the same."""
    path = work.copy_offsite() / work.newest.name / "vault" / "raft.snap"
    work.flip(path, path.stat().st_size // 2)


@fault(
    "F11a",
    "A compressed archive is cut",
    "bytes",
    everywhere("DR-02", CUT, ODOO),
    caught("DR-04", "volume-archive-corrupt", "odoo-web-data", variant=Variant.REHASHED),
    volumes=("odoo-web-data",),
)
def archive_cut(work: Workspace) -> None:
    """Break the transfer off."""
    path = work.path(ODOO)
    work.replace(path, path.read_bytes()[:-200])


def _unpacked(data: bytes) -> bytes | None:
    """Return what a zstd frame holds; None where it can't be read."""
    try:
        return zstandard.ZstdDecompressor().stream_reader(data).read()
    except zstandard.ZstdError:
        return None


@fault(
    "F11b",
    "A byte of a compressed archive is changed",
    "bytes",
    everywhere("DR-02", (*CUT, "tar-damaged"), ODOO),
)
def archive_damaged(work: Workspace) -> None:
    """Damage the middle of it, where it matters: a few bits of a zstd frame (unused ones of a block) decode alike."""
    path = work.path(ODOO)
    data = path.read_bytes()
    for offset in range(len(data) // 2, len(data)):
        work.flip(path, offset)
        if _unpacked(path.read_bytes()) != _unpacked(data):
            return
        path.write_bytes(data)
    raise AssertionError("no byte of the second half matters")


@fault(
    "F11c",
    "A data file of a dump is cut",
    "dump",
    everywhere("DR-02", (*CUT, "dump-incomplete", "dump-unreadable"), "databases/chatwoot"),
    caught(
        "DR-03", ("dump-incomplete", "statement-failed", "compression-truncated"), variant=Variant.REHASHED
    ),
    databases=("chatwoot",),
)
def dump_member_cut(work: Workspace) -> None:
    """Fill the disk while the last table is written."""
    path = work.largest("databases/chatwoot/*.dat.zst")
    work.replace(path, path.read_bytes()[: path.stat().st_size // 2])


@fault(
    "F12",
    "A plain dump is cut in half (psql would exit 0)",
    "dump",
    caught("DR-02", ("dump-truncated", "dump-incomplete"), "chatwoot"),
    caught("DR-03", "dump-incomplete", "chatwoot"),
    databases=("chatwoot",),
)
def plain_cut(work: Workspace) -> None:
    """Keep the first half of a plain dump; a hash list made afterwards fits it."""
    path = work.flatten("chatwoot", "plain")
    data = path.read_bytes()
    work.replace(path, data[: data.rindex(b"\n", 0, len(data) // 2) + 1])
    work.list_hashes()


@fault(
    "F13",
    "A custom-format dump is cut (pg_restore --list would exit 0)",
    "dump",
    caught("DR-02", ("dump-truncated", "dump-incomplete", "dump-unreadable"), "chatwoot"),
    caught("DR-03", ("dump-incomplete", "archive-unreadable", "statement-failed"), "chatwoot"),
    databases=("chatwoot",),
)
def custom_cut(work: Workspace) -> None:
    """Keep four fifths of a custom-format dump, with its whole table of contents."""
    path = work.flatten("chatwoot", "custom")
    work.replace(path, path.read_bytes()[: path.stat().st_size * 4 // 5])
    work.list_hashes()


@fault(
    "F14a",
    "One bit of a stored row is flipped",
    "dump",
    caught("DR-02", HASHES, "databases/n8n"),
    caught("DR-03", "values-changed", "credentials_entity", variant=Variant.REHASHED),
    caught("DR-03", "no-manifest", verdict=NOT_PROVEN, variant=Variant.WITHOUT_MANIFEST),
    databases=("n8n",),
)
def bit_flipped(work: Workspace) -> None:
    """Flip a bit of a letter inside a row: the file still decompresses and still loads."""
    work.edit_data("n8n", b"U2FsdGVkX1", lambda data: data.replace(b"U2FsdGVkX1", b"U2FsdGVkY1", 1))


@fault(
    "F14b",
    "A bit of Vault's snapshot is flipped",
    "bytes",
    everywhere("DR-02", ("vault-snapshot-damaged", *CUT), "raft.snap"),
    caught("DR-06", "vault-snapshot-corrupt", variant=Variant.REHASHED),
)
def snapshot_flipped(work: Workspace) -> None:
    """Damage the middle of the snapshot."""
    path = work.path("vault/raft.snap")
    work.flip(path, path.stat().st_size // 2)


@fault(
    "F14c",
    "A role's name in the globals is off by one bit",
    "bytes",
    caught("DR-02", HASHES, "globals.sql.zst"),
    caught("DR-03", ("role-missing", "role-extra"), "smarteros_support", variant=Variant.REHASHED),
    databases=("n8n",),
)
def globals_flipped(work: Workspace) -> None:
    """Flip a bit in a role's name, wherever it stands."""
    work.edit_text(
        work.path("globals.sql.zst"), lambda text: text.replace("smarteros_support", "smarteros_supporu")
    )


@fault(
    "F15a",
    "An artifact and its hash were both replaced, and signed with another key",
    "signature",
    caught("DR-02", "signature-invalid", "signature"),
)
def forged(work: Workspace) -> None:
    """Sign with a key of the attacker's own."""
    work.edit_text(work.path("globals.sql.zst"), lambda text: f"{text}-- changed\n")
    work.rehash()
    key = work.directory / "attacker.pem"
    generate_keypair(key, work.directory / "attacker.pub")
    work.sign(work.newest, key)


@fault("F15b", "The signature was removed", "signature", caught("DR-02", "signature-missing"))
def unsigned(work: Workspace) -> None:
    """Rehash and leave the signature out."""
    work.drop(work.path("manifest.json.sig"))


@fault(
    "F15c",
    "A set was rolled back to an older signed manifest",
    "signature",
    caught("DR-02", (*HASHES, "stamp-mismatch", "missing-artifact")),
)
def replayed(work: Workspace) -> None:
    """Put yesterday's manifest, validly signed, into today's set."""
    for name in ("manifest.json", "manifest.json.sig"):
        work.replace(work.path(name), (work.sets[-2] / name).read_bytes())


@fault(
    "F15d",
    "A manifest names a database twice, once without its tables",
    "manifest",
    caught("DR-02", "manifest-contradictory", "smarteros is named 2 times"),
)
def named_twice(work: Workspace) -> None:
    """Promise nothing in the entry that is read first, or last."""
    manifest = work.manifest()
    entry = next(item for item in manifest.databases if item.name == "smarteros")
    hollow = entry.model_copy(update={"content": {**entry.content, "tables": {}}})
    work.rewrite(databases=(hollow, *manifest.databases))


@fault(
    "F15e",
    "A manifest keeps silent about Vault's snapshot",
    "manifest",
    caught("DR-02", "manifest-contradictory", "vault/canary.json is an artifact, and nothing says of what"),
)
def silent(work: Workspace) -> None:
    """Take back what was promised of Vault; its files stay, with their hashes."""
    work.rewrite(vault=None)


@fault(
    "F15f",
    "A manifest's roles have no names",
    "manifest",
    caught("DR-02", "manifest-contradictory", "roles have no names"),
)
def nameless_roles(work: Workspace) -> None:
    """Write a list where roles are looked up by their names."""
    work.rewrite(roles={**work.manifest().roles, "roles": []})


@fault(
    "F16a",
    "Plain text where encryption is required",
    "encryption",
    caught("DR-02", "not-encrypted", "globals.sql.zst"),
)
def plain_text(work: Workspace) -> None:
    """Declare that backups are encrypted, and don't encrypt them."""
    work.declare_backups(encrypted=True)


@fault(
    "F16b",
    "An encrypted artifact whose key is lost",
    "encryption",
    caught("DR-02", "unexpected-encryption", ODOO),
    caught("DR-02", "unexpected-encryption", ODOO, variant=Variant.REHASHED),
    caught("DR-04", ("archive-not-supported", "volume-archive-corrupt", "volume-missing"), "odoo-web-data"),
    volumes=("odoo-web-data",),
)
def key_lost(work: Workspace) -> None:
    """Put an age file there that nobody can open."""
    work.replace(work.path(ODOO), b"age-encryption.org/v1\n-> X25519 AAAA\nBBBB\n--- CCCC\n" + noise(4096))


@fault(
    "F17a",
    "Ransomware encrypted an archive",
    "bytes",
    everywhere("DR-02", "high-entropy", ODOO),
)
def ransomware(work: Workspace) -> None:
    """Overwrite the file with what looks random, under its old name."""
    path = work.path(ODOO)
    work.replace(path, noise(path.stat().st_size))


@fault(
    "F17b",
    "Rows were encrypted before the backup",
    "dump",
    everywhere("DR-02", "high-entropy", "databases/n8n"),
)
def encrypted_rows(work: Workspace) -> None:
    """Fill a table's data with noise; compression and hashes are right."""
    path = work.largest("databases/n8n/*.dat.zst")
    work.replace(path, zstandard.compress(noise(200_000)))


@fault(
    "F17c",
    "Rows were encrypted in the database itself",
    "dump",
    caught("DR-03", "values-changed", "workflow_entity"),
    caught("DR-03", "values-changed", "workflow_entity", variant=Variant.REHASHED),
    caught("DR-03", "no-manifest", verdict=NOT_PROVEN, variant=Variant.WITHOUT_MANIFEST),
    databases=("n8n",),
)
def encrypted_values(work: Workspace) -> None:
    """Overwrite names in place, as ransomware with a login does."""
    work.edit_dump("n8n", "UPDATE workflow_entity SET name = encode(sha256(name::bytea), 'base64')")
