"""Finds backup sets in a directory: our own, the old scripts' flat files, and what others leave there.

The catalog is cheap (it reads the first bytes of each file) and it ignores nothing in silence: what it can't
read, doesn't know or doesn't follow becomes a problem with the name in it. It writes nothing.
"""

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from smos.backup.envelope import SUFFIX
from smos.backup.manifest import MANIFEST_NAME, SET_PREFIX, SIGNATURE_NAME, Manifest, read_manifest
from smos.backup.model import Artifact, ArtifactKind, BackupSet, Catalog
from smos.backup.names import (
    FROM_DATE,
    FROM_HEADER,
    FROM_MANIFEST,
    FROM_NAME,
    Stamp,
    find_stamp,
    has_backup_suffix,
    hash_algorithm,
    is_information,
    is_plain_name,
    is_unfinished,
    parse_hash_list,
    printable,
    set_stamp,
    stem,
)
from smos.backup.probe import (
    TOC_NAME,
    Probe,
    is_dump_directory,
    looks_like_json,
    probe_dump_directory,
    probe_file,
    sealed_file,
)
from smos.backup.streams import read_head
from smos.errors import BackupError
from smos.verdict import Problem

SAME_RUN = timedelta(minutes=30)
"""Flat files whose stamps lie this close together were left by one run."""
STAMP_TOLERANCE = timedelta(minutes=1)
HEADER_TOLERANCE = timedelta(hours=36)
"""An archive's header gives the dumping machine's local time without a zone: up to 26 hours of difference are
only zones; more means that the file was renamed."""
HASH_LIST_BYTES = 4 << 20
MOST_FILES_PER_SET = 1_000_000


@dataclass(frozen=True, slots=True)
class _Found:
    """A flat artifact with its stamp, before it is put into a set."""

    artifact: Artifact
    stamp: Stamp | None
    created: datetime | None
    series: str
    problems: tuple[Problem, ...]


def read_catalog(directory: Path, *, timezone: str, volumes: Collection[str] = ()) -> Catalog:
    """List the backup sets of `directory`, oldest first.

    timezone: IANA name of the zone of the stamps in flat files' names. volumes: names that the target
    declares; they help to tell which flat archive is which volume.
    """
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return Catalog(directory=directory, exists=False, sets=(), problems=())
    except OSError as error:
        problem = Problem("unreadable", f"{directory}: {error.strerror}")
        return Catalog(directory=directory, exists=True, sets=(), problems=(problem,))
    zone = ZoneInfo(timezone)
    problems: list[Problem] = []
    sets: list[BackupSet] = []
    found: list[_Found] = []
    hashes: dict[str, str] = {}
    for entry in entries:
        refusal = _refuse(entry, directory)
        if refusal:
            problems.append(refusal)
        elif entry.is_dir(follow_symlinks=False) and entry.name.startswith(SET_PREFIX):
            sets.append(_own_set(directory, entry.name))
        elif hash_algorithm(entry.name):
            problems.extend(_take_hashes(Path(entry.path), hashes))
        else:
            item = _flat(entry, zone, volumes)
            if _is_stray(item):
                problems.extend(item.problems)
            else:
                found.append(item)
    sets.extend(_group(found, hashes, zone))
    names = {item.artifact.path for item in found}
    problems.extend(
        Problem("hash-without-file", f"a hash list names {printable(name)}, which is not there")
        for name in sorted(set(hashes) - names)
    )
    oldest = datetime.min.replace(tzinfo=UTC)
    sets.sort(key=lambda item: (item.stamp or oldest, item.id))
    return Catalog(directory=directory, exists=True, sets=tuple(sets), problems=tuple(problems))


def _refuse(entry: os.DirEntry[str], directory: Path) -> Problem | None:
    """Return why an entry is no artifact; None when it has to be looked at."""
    name = entry.name
    if not is_plain_name(name):
        return Problem("unknown-file", f"{printable(name)}: a name that is not plain text")
    if is_unfinished(name):
        return Problem("unfinished-backup", f"{name}: a backup that was interrupted, or is being written")
    if entry.is_symlink():
        return _link(Path(entry.path), directory)
    if is_information(name):
        return Problem("ignored-file", f"{name}: not a backup")
    return _refuse_type(entry)


def _refuse_type(entry: os.DirEntry[str]) -> Problem | None:
    name, is_dir = entry.name, entry.is_dir(follow_symlinks=False)
    if is_dir and not name.startswith(SET_PREFIX) and not (Path(entry.path) / TOC_NAME).is_file():
        return Problem("unknown-directory", f"{name}/: neither a backup set nor a dump in directory format")
    if not is_dir and not entry.is_file(follow_symlinks=False):
        return Problem("unknown-file", f"{name}: not a regular file")
    return None


def _link(path: Path, directory: Path) -> Problem:
    """Say what a symbolic link is: a second name of something beside it, or a way out that is not taken."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return Problem("symlink-broken", f"{path.name}: a symbolic link to nothing")
    if target.is_relative_to(directory.resolve()):
        return Problem("ignored-file", f"{path.name}: a symbolic link to {printable(target.name)} beside it")
    return Problem(
        "symlink-outside", f"{path.name}: a symbolic link that leaves the backup directory; not followed"
    )


def _take_hashes(path: Path, hashes: dict[str, str]) -> Iterator[Problem]:
    try:
        text = path.read_bytes()[:HASH_LIST_BYTES].decode("utf-8", "backslashreplace")
    except OSError as error:
        yield Problem("unreadable", f"{path.name}: {error.strerror}")
        return
    declared = parse_hash_list(path.name, text)
    if declared is None:
        yield Problem("hash-list-invalid", f"{path.name}: not a list of hashes")
        return
    for name, value in declared.items():
        known = hashes.get(name)
        if known and known.partition(":")[0] == value.partition(":")[0] and known != value:
            yield Problem(
                "hash-list-invalid", f"{path.name}: another hash for {printable(name)} than another list"
            )
        # The strongest algorithm counts: sha512 > sha256 > sha1 > md5 is the order of their lengths.
        if known is None or len(value) > len(known):
            hashes[name] = value


def _flat(entry: os.DirEntry[str], zone: ZoneInfo, volumes: Collection[str]) -> _Found:
    name, path = entry.name, Path(entry.path)
    stamp = find_stamp(name, zone)
    series = stem(name, stamp)
    try:
        if entry.is_dir(follow_symlinks=False):
            probe = probe_dump_directory(path, stem=series)
        else:
            probe = probe_file(path, shown=name, stem=series, known_volumes=volumes)
    except OSError as error:
        probe = _unreadable(path, Problem("unreadable", f"{name}: {error.strerror}"))
    return _Found(
        artifact=_artifact(name, probe),
        stamp=stamp,
        created=probe.created,
        series=f"{series}/{'.'.join(name.split('.')[1:]) if stamp is None else name.replace(stamp.text, '')}",
        problems=probe.problems,
    )


def _is_stray(item: _Found) -> bool:
    """Tell a file that nothing marks as a backup: neither its bytes, nor a stamp and a known suffix."""
    if item.artifact.kind is not ArtifactKind.UNKNOWN or item.artifact.encryption:
        return False
    return item.stamp is None or not has_backup_suffix(item.artifact.path)


def _unreadable(path: Path, problem: Problem) -> Probe:
    try:
        status = os.lstat(path)
        size, mtime = status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)
    except OSError:
        size, mtime = 0, datetime.fromtimestamp(0, UTC)
    return Probe(
        kind=ArtifactKind.UNKNOWN,
        compression="none",
        encryption="",
        stored_bytes=size,
        mtime=mtime,
        names_complete=False,
        problems=(problem,),
    )


def _artifact(path: str, probe: Probe) -> Artifact:
    return Artifact(
        path=path,
        kind=probe.kind,
        compression=probe.compression,
        stored_bytes=probe.stored_bytes,
        mtime=probe.mtime,
        databases=tuple(printable(name) for name in probe.databases),
        volumes=tuple(printable(name) for name in probe.volumes),
        names_complete=probe.names_complete,
        encryption=probe.encryption,
    )


def _group(found: list[_Found], hashes: Mapping[str, str], zone: ZoneInfo) -> Iterator[BackupSet]:
    """Put flat artifacts into sets by their stamps."""
    dated: list[tuple[datetime, str, _Found]] = []
    whole_days: list[_Found] = []
    for item in found:
        if item.stamp is None and item.created is None:
            yield _flat_set([item], None, "", hashes)
        elif item.stamp is None and item.created is not None:
            dated.append((item.created.replace(tzinfo=zone).astimezone(UTC), FROM_HEADER, item))
        elif item.stamp and item.stamp.whole_day:
            whole_days.append(item)
        elif item.stamp:
            dated.append((item.stamp.at, FROM_NAME, item))
    dated.sort(key=lambda row: (row[0], row[2].artifact.path))
    runs: list[list[tuple[datetime, str, _Found]]] = []
    for row in dated:
        run = runs[-1] if runs else []
        together = run and row[0] - run[0][0] <= SAME_RUN
        # Two files of one series are two runs, however close: a short period, or a second attempt.
        if together and row[2].series not in {other[2].series for other in run}:
            run.append(row)
        else:
            runs.append([row])
    yield from _whole_days(whole_days, runs, hashes, zone)
    for run in runs:
        yield _flat_set([row[2] for row in run], run[0][0], run[0][1], hashes)


def _whole_days(
    items: list[_Found],
    runs: list[list[tuple[datetime, str, _Found]]],
    hashes: Mapping[str, str],
    zone: ZoneInfo,
) -> Iterator[BackupSet]:
    """Names with a date alone join the only timed run of that local day; else they are that day's set."""
    by_day: dict[datetime, list[_Found]] = {}
    for item in items:
        assert item.stamp is not None  # noqa: S101  (the caller sorted them so; narrows the type)
        by_day.setdefault(item.stamp.at, []).append(item)
    for day, members in sorted(by_day.items()):
        date = day.astimezone(zone).date()
        same = [run for run in runs if run[0][0].astimezone(zone).date() == date]
        if len(same) == 1:
            same[0].extend((day, FROM_DATE, item) for item in members)
        else:
            yield _flat_set(members, day, FROM_DATE, hashes)


def _flat_set(
    items: list[_Found], stamp: datetime | None, source: str, hashes: Mapping[str, str]
) -> BackupSet:
    items = sorted(items, key=lambda item: item.artifact.path)
    problems = [problem for item in items for problem in item.problems]
    for item in items:
        if item.stamp is None and stamp is None:
            problems.append(Problem("no-stamp", f"{item.artifact.path}: its name holds no time stamp"))
        problems.extend(_header_problem(item))
    artifacts = tuple(
        replace(item.artifact, declared_hash=hashes.get(item.artifact.path, "")) for item in items
    )
    texts = [(item.stamp.whole_day, item.stamp.at, item.stamp.text) for item in items if item.stamp]
    return _make_set(
        id_=min(texts)[2] if texts else items[0].artifact.path,
        stamp=stamp,
        source=source,
        artifacts=artifacts,
        problems=problems,
    )


def _header_problem(item: _Found) -> Iterator[Problem]:
    """Compare the date in an archive's own header with the name: an old dump may have a new name."""
    if item.created is None or item.stamp is None:
        return
    ahead = item.stamp.at - item.created.replace(tzinfo=UTC)
    made = f"{item.artifact.path}: made at {item.created:%Y-%m-%d %H:%M} by its own header"
    if ahead > HEADER_TOLERANCE:
        yield Problem("stamp-mismatch", f"{made}, the name claims a later time")
    elif -ahead > HEADER_TOLERANCE + timedelta(days=item.stamp.whole_day):
        yield Problem("stamp-older-than-header", f"{made}, the name claims an earlier time")


def _make_set(
    *,
    id_: str,
    stamp: datetime | None,
    source: str,
    artifacts: tuple[Artifact, ...],
    problems: list[Problem],
    manifest: Manifest | None = None,
) -> BackupSet:
    kinds = {artifact.kind for artifact in artifacts}
    return BackupSet(
        id=id_,
        stamp=stamp,
        stamp_source=source,
        manifested=manifest is not None,
        signed=ArtifactKind.SIGNATURE in kinds,
        artifacts=artifacts,
        databases=_names(artifact.databases for artifact in artifacts),
        volumes=_names(artifact.volumes for artifact in artifacts),
        vault=ArtifactKind.VAULT_SNAPSHOT in kinds,
        stored_bytes=sum(artifact.stored_bytes for artifact in artifacts),
        problems=tuple(problems),
    )


def _names(groups: Iterator[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({name for group in groups for name in group}))


DEEPEST = 4
"""Levels of folders below a set that are looked into; our own sets have two."""


def _own_set(directory: Path, name: str) -> BackupSet:
    """Read one `smos-<stamp>/`. What is on disk is listed; the manifest only adds the stamp."""
    root = directory / name
    problems: list[Problem] = []
    manifest: Manifest | None = None
    try:
        manifest = read_manifest(root) if _regular(root / MANIFEST_NAME) else None
        if manifest is None:
            problems.append(Problem("manifest-missing", f"{name}: there is no {MANIFEST_NAME}"))
    except BackupError as error:
        problems.append(Problem("manifest-unreadable", error.message))
    artifacts = tuple(_own_artifacts(directory, name, "", problems))
    stamp, source = set_stamp(name), FROM_NAME
    started = _utc(manifest.started) if manifest else None
    if manifest and not started:
        problems.append(
            Problem("manifest-unreadable", f"{name}: its manifest gives a time that no clock has")
        )
        manifest = None
    if manifest and started:
        if manifest.set_id != name or (stamp and abs(stamp - started) > STAMP_TOLERANCE):
            problems.append(
                Problem(
                    "stamp-mismatch",
                    f"{name}: its manifest is that of {printable(manifest.set_id)},"
                    f" started {started:%Y-%m-%d %H:%M:%S} UTC",
                )
            )
        stamp, source = started, FROM_MANIFEST
    if stamp is None:
        problems.append(Problem("no-stamp", f"{name}: neither its name nor a manifest gives a time"))
    return _make_set(
        id_=name, stamp=stamp, source=source, artifacts=artifacts, problems=problems, manifest=manifest
    )


def _utc(moment: datetime) -> datetime | None:
    """Return the moment in UTC; None where that is before year 1 or after year 9999."""
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def _regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _own_artifacts(directory: Path, set_id: str, inside: str, problems: list[Problem]) -> Iterator[Artifact]:
    folder = directory / set_id / inside
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        problems.append(Problem("unreadable", f"{set_id}/{inside}: {error.strerror}"))
        return
    for entry in entries:
        relative = f"{inside}/{entry.name}" if inside else entry.name
        path = f"{set_id}/{relative}"
        if not is_plain_name(entry.name) or entry.is_symlink():
            problems.append(Problem("unknown-file", f"{printable(path)}: a symbolic link, or no plain name"))
            continue
        try:
            if entry.is_dir(follow_symlinks=False) and is_dump_directory(Path(entry.path)):
                probe = probe_dump_directory(Path(entry.path), stem=entry.name)
                yield _artifact(path, replace(probe, databases=(entry.name,)))
                problems.extend(probe.problems)
            elif entry.is_dir(follow_symlinks=False) and relative.count("/") >= DEEPEST:
                problems.append(Problem("unknown-file", f"{path}: no set of ours has folders this deep"))
            elif entry.is_dir(follow_symlinks=False):
                yield from _own_artifacts(directory, set_id, relative, problems)
            elif entry.is_file(follow_symlinks=False):
                probe = _own_file(Path(entry.path), relative, path)
                yield _artifact(path, probe)
                problems.extend(probe.problems)
            else:
                problems.append(Problem("unknown-file", f"{path}: not a regular file"))
        except OSError as error:
            problem = Problem("unreadable", f"{path}: {error.strerror}")
            problems.append(problem)
            yield _artifact(path, _unreadable(Path(entry.path), problem))


def _own_file(path: Path, relative: str, shown: str) -> Probe:
    """Probe a file of our own set: the place says what it should be, the bytes whether it is."""
    part, _, name = relative.rpartition("/")
    volume = name.partition(".tar")[0]
    called = volume if part == "volumes" else stem(name, None)
    probe = probe_file(path, shown=shown, stem=called, known_volumes={volume} if part == "volumes" else ())
    if probe.encryption == "age" and name.endswith(SUFFIX):
        return sealed_file(probe, part, name.removesuffix(SUFFIX))
    if part == "volumes" and probe.kind in {ArtifactKind.VOLUME_ARCHIVE, ArtifactKind.OTHER_ARCHIVE}:
        return replace(probe, kind=ArtifactKind.VOLUME_ARCHIVE, volumes=(volume,), names_complete=True)
    if probe.kind is ArtifactKind.PG_DUMPALL and name.startswith("globals."):
        return replace(probe, kind=ArtifactKind.GLOBALS, databases=(), names_complete=True)
    places = {
        MANIFEST_NAME: ArtifactKind.MANIFEST,
        SIGNATURE_NAME: ArtifactKind.SIGNATURE,
        "vault/canary.json": ArtifactKind.VAULT_CANARY,
    }
    place = places.get(relative)
    if part == "volumes" and ".jsonl" in name:
        place = ArtifactKind.VOLUME_ENTRIES
    if place is None or probe.kind is not ArtifactKind.UNKNOWN or not probe.stored_bytes:
        return probe
    fits = place is ArtifactKind.SIGNATURE or looks_like_json(read_head(path).content[:64])
    empty_volume = place is ArtifactKind.VOLUME_ENTRIES and probe.problems[:1] and not read_head(path).content
    if not fits and not empty_volume:
        return probe
    problems = tuple(item for item in probe.problems if item.code not in {"unknown-file", "empty-content"})
    return replace(probe, kind=place, problems=problems)


def credible_sets(catalog: Catalog, now: datetime, tolerance: timedelta) -> tuple[BackupSet, ...]:
    """Return the sets whose stamp is no further ahead of `now` than `tolerance`, oldest first."""
    return tuple(item for item in catalog.sets if item.stamp is not None and item.stamp <= now + tolerance)
