"""PostgreSQL's own tools on a fetched backup, and their words as problems: verify, combine, checksums, control file."""

import hashlib
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smos.physical.fetch import Fetched
from smos.physical.label import SETTINGS, SIGNALS, ManifestHead
from smos.physical.wal import lsn_number
from smos.provision.embedded.template import crc32c
from smos.provision.installations import PostgresInstallation
from smos.provision.owner import Owner
from smos.verdict import Problem

LISTED = 20
TOOL_S = 4 * 3600
ENGLISH = {"LC_ALL": "C", "LC_MESSAGES": "C"}
_NEVER_RESTORED = ("postgresql.auto.conf.tmp", "log", "pg_log", "current_logfiles")
_VERDICTS = (
    ("file-missing", re.compile(r'"(.+)" is present in the manifest but not on disk')),
    ("file-extra", re.compile(r'"(.+)" is present on disk but not in the manifest')),
    ("file-altered", re.compile(r'checksum mismatch for file "(.+)"')),
    ("file-altered", re.compile(r'"(.+)" has size \d+ .*but size \d+ in the manifest')),
    ("file-altered", re.compile(r'file "(.+)" should contain \d+ bytes, but read \d+ bytes')),
    (
        "manifest-altered",
        re.compile(r"(manifest checksum mismatch|could not parse backup manifest.*|.*manifest.*)"),
    ),
    ("own-log-damaged", re.compile(r"(WAL parsing failed.*)")),
)

_BAD_PAGE = re.compile(
    r"checksum verification failed in file|could not read block \d+ in file .*: read \d+ of \d+"
)
"""pg_checksums on a page that is damaged, or cut."""


def verify(
    owner: Owner,
    installation: PostgresInstallation,
    data: Path,
    *,
    parse_log: bool,
    ignore: Sequence[str] = (),
    launcher: Sequence[str] = (),
) -> tuple[Problem, ...]:
    """Run pg_verifybackup on a fetched backup that has a manifest.

    parse_log: it brings the log that it needs. launcher: see Fetched.
    Codes: file-missing, file-extra, file-altered, manifest-altered, own-log-damaged, verify-failed.
    """
    words: list[str | Path] = [installation.tool("pg_verifybackup"), "--quiet"]
    words += [] if parse_log else ["--no-parse-wal"]
    words += [f"--ignore={name}" for name in (*_NEVER_RESTORED, *ignore)]
    done = owner.run(
        [*launcher, *words, data], timeout_s=TOOL_S, env=ENGLISH, as_service_user=not launcher, check=False
    )
    if done.returncode == 0:
        return ()
    problems = []
    for line in done.stderr.decode("utf-8", "replace").splitlines():
        text = line.partition("error: ")[2]
        if not text or text.startswith("backup verification"):
            continue
        for code, pattern in _VERDICTS:
            if pattern.search(text):
                problems.append(Problem(code, text[:300]))
                break
        else:
            problems.append(Problem("own-log-damaged" if "WAL" in text else "verify-failed", text[:300]))
    if not problems:
        problems.append(Problem("verify-failed", f"pg_verifybackup ended with {done.returncode}"))
    more = len(problems) - LISTED
    cut = problems[:LISTED]
    return (*cut, Problem(cut[-1].code, f"and {more} more")) if more > 0 else tuple(cut)


def unverified(backup_id: str, manifest: ManifestHead, data: Path) -> tuple[Problem, ...]:
    """Look at what pg_verifybackup leaves out because a restore writes it: settings and signal files.

    Codes: settings-altered, signal-added, manifest-unhashed.
    """
    problems = [
        Problem("signal-added", f"{backup_id}: {name} is there and not in the manifest")
        for name in SIGNALS
        if (data / name).exists() and name not in manifest.signals
    ]
    if manifest.unhashed:
        detail = (
            f"{backup_id}: {manifest.unhashed} of {manifest.files} files have no checksum in the manifest"
        )
        problems.append(Problem("manifest-unhashed", detail))
    path = data / SETTINGS
    content = path.read_bytes() if path.is_file() else None
    if content is None or manifest.settings is None:
        if (content is None) != (manifest.settings is None):
            problems.append(
                Problem("settings-altered", f"{backup_id}: {SETTINGS} came or went since the backup")
            )
        return tuple(problems)
    size, algorithm, checksum = manifest.settings
    if algorithm == "CRC32C":
        found = struct.pack("=I", crc32c(content)).hex()
    elif algorithm.startswith("SHA") and algorithm[3:].isdecimal():
        found = hashlib.new(algorithm.lower(), content).hexdigest()
    else:
        found = checksum
    if len(content) != size or found != checksum:
        detail = f"{backup_id}: {SETTINGS} is not as the manifest says (a server that is restored from it obeys it)"
        problems.append(Problem("settings-altered", detail))
    return tuple(problems)


def combine(
    owner: Owner, installation: PostgresInstallation, links: Sequence[Fetched], output: Path, room: Path
) -> tuple[Fetched | None, tuple[Problem, ...]]:
    """Run pg_combinebackup over a chain, oldest first; return the full backup that it gives."""
    spaces = {}
    words: list[str | Path] = [installation.tool("pg_combinebackup"), "--no-sync", f"--output={output}"]
    for oid, place in links[-1].spaces.items():
        spaces[oid] = room / f"{output.name}-{oid}"
        words.append(f"--tablespace-mapping={place}={spaces[oid]}")
    done = owner.run([*words, *(link.data for link in links)], timeout_s=TOOL_S, env=ENGLISH, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if "error:" in line]
        text = lines[0].partition("error: ")[2] if lines else f"it ended with {done.returncode}"
        return None, (Problem("chain-broken", f"pg_combinebackup: {_without(text, room)[:300]}"),)
    last = links[-1]
    return Fetched(
        data=output, spaces=spaces, files=last.files, bytes=last.bytes, seconds=0.0, problems=()
    ), ()


def _without(text: str, room: Path) -> str:
    return text.replace(f"{room}/", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the drill needs of pg_control. checksums: whether data pages have them. redo: of its checkpoint.

    next_xid, oldest_xid, next_multi, oldest_multi: at that checkpoint, without epoch.
    """

    system_identifier: int
    state: str
    checksums: bool
    prepared: int
    locks: int
    wal_level: str
    redo: int
    next_xid: int
    oldest_xid: int
    next_multi: int
    oldest_multi: int


def control(
    owner: Owner, installation: PostgresInstallation, data: Path, launcher: Sequence[str] = ()
) -> tuple[Control | None, str]:
    """Read pg_control with pg_controldata; (None, reason) where it can't. launcher: see Fetched."""
    done = owner.run(
        [*launcher, installation.tool("pg_controldata"), data],
        timeout_s=60,
        env=ENGLISH,
        as_service_user=not launcher,
        check=False,
    )
    text = done.stdout.decode("utf-8", "replace")
    lines: Mapping[str, str] = {
        key.strip(): value.strip()
        for key, separator, value in (line.partition(":") for line in text.splitlines())
        if separator
    }
    if done.returncode != 0 or "WARNING" in text or "warning" in done.stderr.decode("utf-8", "replace"):
        words = (done.stderr.decode("utf-8", "replace").strip() or text.strip()).splitlines()
        return None, (words[0] if words else f"pg_controldata ended with {done.returncode}")[:200]
    try:
        return Control(
            system_identifier=int(lines["Database system identifier"]),
            state=lines["Database cluster state"],
            checksums=lines.get("Data page checksum version", "0") != "0",
            prepared=int(lines["max_prepared_xacts setting"]),
            locks=int(lines["max_locks_per_xact setting"]),
            wal_level=lines["wal_level setting"],
            redo=lsn_number(lines["Latest checkpoint's REDO location"]),
            next_xid=int(lines["Latest checkpoint's NextXID"].rpartition(":")[2]),
            oldest_xid=int(lines["Latest checkpoint's oldestXID"]),
            next_multi=int(lines["Latest checkpoint's NextMultiXactId"]),
            oldest_multi=int(lines["Latest checkpoint's oldestMultiXid"]),
        ), ""
    except (KeyError, ValueError) as error:
        return None, f"pg_controldata says nothing of {error}"


def check_pages(
    owner: Owner, installation: PostgresInstallation, data: Path, launcher: Sequence[str] = ()
) -> tuple[Problem, ...]:
    """Run pg_checksums over a stopped cluster whose pages have checksums. Codes: page-damaged, pages-not-checked.

    launcher: see Fetched.
    """
    done = owner.run(
        [*launcher, installation.tool("pg_checksums"), "--check", "--pgdata", data],
        timeout_s=TOOL_S,
        env=ENGLISH,
        as_service_user=not launcher,
        check=False,
    )
    if done.returncode == 0:
        return ()
    text = done.stderr.decode("utf-8", "replace")
    found = [line.partition("error: ")[2] for line in text.splitlines() if _BAD_PAGE.search(line)]
    if not found:
        reason = next(
            (line for line in text.splitlines() if "error" in line), f"it ended with {done.returncode}"
        )
        return (Problem("pages-not-checked", _without(reason, data)[:200]),)
    problems = [Problem("page-damaged", _without(line, data)[:300]) for line in found[:LISTED]]
    if len(found) > LISTED:
        problems.append(Problem("page-damaged", f"and {len(found) - LISTED} more pages"))
    return tuple(problems)
