"""What the name of a backup file says: stamp, stem, claimed compression; and hash lists beside it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from smos.backup.manifest import SET_PREFIX, STAMP_FORMAT

FROM_MANIFEST = "manifest"
FROM_NAME = "name"
FROM_DATE = "date in the name, without a time"
FROM_HEADER = "dump header"
"""Values of `BackupSet.stamp_source`."""

_STAMP = re.compile(
    r"(?<!\d)(?P<date>(?:19|20)\d{2}(?P<dash>-?)\d{2}(?P=dash)\d{2})"
    r"(?:[T_\-. ]?(?P<time>\d{2}[:\-.]?\d{2}(?:[:\-.]?\d{2})?)(?:\.\d{1,9})?"
    r"(?P<zone>Z|[+-]\d{2}:?\d{2})?)?(?!\d)"
)
_SUFFIXES = re.compile(
    r"\.(?:sql|dump|dmp|pgdump|pgc|custom|backup|bak|tar|tgz|txz|tzst|tbz2?|gz|zst|bz2|xz|lz4|age|gpg|pgp|asc|enc|jsonl|json|snap)$",
    re.IGNORECASE,
)
_COMPRESSED_NAMES = {
    ".gz": "gzip",
    ".tgz": "gzip",
    ".zst": "zstd",
    ".tzst": "zstd",
    ".bz2": "bzip2",
    ".xz": "xz",
    ".txz": "xz",
    ".lz4": "lz4",
}
_HASH_SUFFIX = re.compile(r"\.(?P<algorithm>sha256|sha512|sha1|md5)(?:sum)?$", re.IGNORECASE)
_HASH_LIST = re.compile(r"^(?P<algorithm>sha256|sha512|sha1|md5)sums?(?:\.txt)?$", re.IGNORECASE)
_HASH_LINE = re.compile(r"^\\?(?P<hash>[0-9a-fA-F]{32,128})(?:[ \t]+\*?(?P<name>.+))?$")
_BSD_LINE = re.compile(r"^(?P<algorithm>[A-Za-z0-9]+) ?\((?P<name>.+)\) ?= ?(?P<hash>[0-9a-fA-F]{32,128})$")
_HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_INFORMATION = re.compile(r"^(?:\.|readme|license|lost\+found$)|\.(?:md|txt|log|rst)$", re.IGNORECASE)
_UNFINISHED = re.compile(r"^\.partial|\.(?:partial|part|tmp|incomplete)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time stamp from a name. at: UTC. text: as it stands there. whole_day: it has no time."""

    at: datetime
    text: str
    whole_day: bool


def find_stamp(name: str, zone: ZoneInfo) -> Stamp | None:
    """Find the time stamp in `name`: YYYYMMDD_HHMMSS, ISO-like, or a date alone.

    It is local to `zone` unless it names its own offset. An hour that a clock change repeats is taken as the
    first of the two; the target's slack covers the other.
    """
    for match in _STAMP.finditer(name):
        digits = match["date"].replace("-", "")
        time = re.sub(r"\D", "", match["time"] or "")
        for text in (f"{digits}{time:0<6}" if time else "", digits):
            if not text:
                continue
            try:
                # Not strptime: it takes ten times as long, and a directory may hold thousands of names.
                day = datetime(int(text[:4]), int(text[4:6]), int(text[6:8]))  # noqa: DTZ001  (zone: below)
                clock = [int(text[at : at + 2]) for at in range(8, len(text), 2)] or [0, 0, 0]
                local = day.replace(hour=clock[0], minute=clock[1], second=clock[2])
            except ValueError:
                continue
            whole_day = len(text) == 8
            tz = zone if whole_day or not match["zone"] else _offset(match["zone"])
            return Stamp(local.replace(tzinfo=tz).astimezone(UTC), match[0], whole_day)
    return None


def set_stamp(name: str) -> datetime | None:
    """Return the stamp of one of our own sets, `smos-<YYYYMMDD_HHMMSS>` in UTC."""
    try:
        return datetime.strptime(name.removeprefix(SET_PREFIX), STAMP_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def stem(name: str, stamp: Stamp | None) -> str:
    """Return the name without its stamp and its known suffixes: `mydb-20261101.sql.zst` gives `mydb`."""
    while match := _SUFFIXES.search(name):
        name = name[: match.start()]
    if stamp:
        name = name.replace(stamp.text, "", 1)
    return name.strip("-_. ")


def claimed_compression(name: str) -> str:
    """Return the compression that the suffix claims, or an empty string."""
    for suffix in (".age", ".gpg", ".pgp", ".asc", ".enc"):
        name = name.removesuffix(suffix)
    return next((kind for suffix, kind in _COMPRESSED_NAMES.items() if name.lower().endswith(suffix)), "")


def has_backup_suffix(name: str) -> bool:
    """Tell whether the name ends as backups' names do."""
    return bool(_SUFFIXES.search(name))


def is_information(name: str) -> bool:
    """Tell whether a file is for people (README, logs) or hidden, and no backup."""
    return bool(_INFORMATION.search(name))


def is_unfinished(name: str) -> bool:
    """Tell whether the name is that of a backup that is being written, or was interrupted."""
    return bool(_UNFINISHED.search(name))


def hash_algorithm(name: str) -> str:
    """Return the algorithm of a hash list (`x.sha256`, `SHA256SUMS`); empty for any other name."""
    match = _HASH_SUFFIX.search(name) or _HASH_LIST.search(name)
    return match["algorithm"].lower() if match else ""


def parse_hash_list(name: str, text: str) -> dict[str, str] | None:
    """Return {file name: "algorithm:hex"} of a hash list; None when a line of it can't be understood.

    Forms: `<hash>  <name>` (GNU), `ALG (<name>) = <hash>` (BSD), and the bare hash of `<name>.sha256`.
    """
    algorithm = hash_algorithm(name)
    own = _HASH_SUFFIX.sub("", name)
    declared: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _HASH_LINE.match(line) or _BSD_LINE.match(line)
        if match is None or len(match["hash"]) != _HASH_LENGTHS[algorithm]:
            return None
        file = (match["name"] or own).strip().removeprefix("./")
        # Lists are often made with absolute paths, elsewhere: the name itself is what counts.
        declared[file.rsplit("/", 1)[-1]] = f"{algorithm}:{match['hash'].lower()}"
    return declared or None


def printable(name: str) -> str:
    """Return an untrusted name as one line of printable UTF-8 of at most 300 characters."""
    if len(name) <= 300 and name.isascii() and name.isprintable():
        return name
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)[:300]


def is_plain_name(name: str) -> bool:
    """Tell whether a file name can be handed on as it is (UTF-8, no control characters)."""
    return printable(name) == name


def _offset(text: str) -> timezone:
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "")
    delta = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-delta if text[0] == "-" else delta)
