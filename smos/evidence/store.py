"""History and evidence between the reports directory and the store that the target names: runners forget.

Layout there: `<target>/history.jsonl`, `<target>/baseline.json`, `<target>/evidence/<bundle>/…` for signed runs and
`<target>/runs/<moment>-<run>/…` for others, `<target>/LATEST`. A run that is there is never written again.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from smos.drill.baseline import baseline_path
from smos.errors import SmosError
from smos.evidence import history, origin, untrusted, verdict_file
from smos.evidence.bundle import (
    EVIDENCE,
    FOLDER,
    LOOSE,
    SUMS_NAME,
    bundle_name,
    bundles,
    digest,
    newest,
    walk,
)
from smos.evidence.files import write_atomic
from smos.live.stores import StoreAccess, open_store
from smos.provision.owner import Owner
from smos.target import Settings

LATEST = "LATEST"
BASELINE = "baseline.json"
_NAME = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9_.]{1,40}")
_LINE = re.compile(r"[0-9a-f]{64}  (?P<path>[^\x00-\x1f]{1,400})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What was brought over. where: the store, for people; run: the run's folder there; files: how many."""

    where: str
    run: str
    files: int
    history_lines: int


def slug(target_name: str) -> str:
    """Return the folder of a target."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", target_name).strip(".") or "target"


def pull(reports: Path, target_name: str, store: StoreAccess) -> Moved:
    """Take history, baseline and the last signed bundle from the store, where they are newer than what is here.

    Raises SmosError (LiveError) where the store can't be read, or holds another history than the one here, or none
    that a run of ours wrote: whose chain is broken is not taken over.
    """
    base = slug(target_name)
    files = 0
    names = {name: f"{base}/{name}" for name in (history.FILE_NAME, BASELINE, LATEST)}
    found = store.read(*names.values())
    there, here = found.get(names[history.FILE_NAME]), _read(reports / history.FILE_NAME)
    if there is not None and there != here:
        if not here or there.startswith(here):
            _require_chain(there, store)
            write_atomic(reports / history.FILE_NAME, there)
            files += 1
        elif not here.startswith(there):
            raise _diverged(reports, store)
    known = found.get(names[BASELINE])
    if known is not None and not baseline_path(reports, target_name).exists():
        write_atomic(baseline_path(reports, target_name), known)
        files += 1
    name = found.get(names[LATEST], b"").decode("ascii", "replace").strip()
    if _NAME.fullmatch(name) and not (reports / FOLDER / name).exists():
        files += _pull_bundle(reports, base, name, store)
    return Moved(where=store.shown, run=name, files=files, history_lines=_lines(there or here))


def push(reports: Path, target_name: str, store: StoreAccess) -> Moved:
    """Bring the newest run to the store, then the history; a run that is there already is left as it is.

    Raises SmosError: what is here stays as it was, whatever happens.
    """
    base = slug(target_name)
    verdict, run = _documents(reports)
    name = bundle_name(run["finished"], verdict["run_id"])
    signed = [path for path in bundles(reports / FOLDER) if path.name.endswith(f"-{name.partition('-')[2]}")]
    with tempfile.TemporaryDirectory() as folder:
        if signed:
            last = newest(signed) or signed[-1]
            prefix, found = (
                f"{base}/{FOLDER}/{last.name}",
                {path.relative_to(last).as_posix(): path for path in walk(last)},
            )
            Path(folder, LATEST).write_text(last.name, encoding="ascii")
        else:
            prefix, found = (
                f"{base}/runs/{name}",
                {item: reports / item for item in EVIDENCE if (reports / item).is_file()},
            )
            sums = "".join(f"{digest(path)}  {item}\n" for item, path in sorted(found.items()))
            Path(folder, SUMS_NAME).write_text(sums, encoding="utf-8")
            found[SUMS_NAME] = Path(folder, SUMS_NAME)
        late_name = f"{base}/{history.FILE_NAME}"
        before = store.read(f"{prefix}/{SUMS_NAME}", late_name)
        already = before.get(f"{prefix}/{SUMS_NAME}")
        if already is not None and already != found[SUMS_NAME].read_bytes():
            raise SmosError(
                f"{store.shown} holds something else as the run {name}",
                remedy="find out who wrote there; evidence is never written a second time",
            )
        # The list of digests comes last: a run that lacks it did not come over whole.
        ordered = {
            f"{prefix}/{item}": found[item]
            for item in sorted(found, key=lambda item: (item == SUMS_NAME, item))
        }
        if already is None:
            store.write(ordered)
        there, here = before.get(late_name, b""), _read(reports / history.FILE_NAME)
        if not here.startswith(there):
            raise _diverged(reports, store)
        late = {late_name: reports / history.FILE_NAME} if here != there else {}
        if baseline_path(reports, target_name).is_file():
            late[f"{base}/{BASELINE}"] = baseline_path(reports, target_name)
        if signed:
            late[f"{base}/{LATEST}"] = Path(folder, LATEST)
        if late:
            store.write(late)
    return Moved(where=store.shown, run=name, files=len(ordered) + len(late), history_lines=_lines(here))


@contextmanager
def opened(settings: Settings) -> Iterator[StoreAccess]:
    """Give the store that the target names. Raises SmosError."""
    if settings.evidence.store is None:
        raise SmosError(
            "The target names no store for evidence",
            remedy="add evidence.store to the target file; docs/live.md shows the four kinds",
        )
    with Owner("evidence") as owner:
        yield open_store(settings.evidence.store, owner, settings.ssh_agent)


def _pull_bundle(reports: Path, base: str, name: str, store: StoreAccess) -> int:
    """Fetch a signed bundle: the next one names its digest, so that a missing one is noticed."""
    prefix = f"{base}/{FOLDER}/{name}"
    sums = store.read(f"{prefix}/{SUMS_NAME}").get(f"{prefix}/{SUMS_NAME}")
    if sums is None:
        return 0
    paths = [
        match["path"]
        for line in sums.decode("utf-8", "replace").splitlines()
        if (match := _LINE.fullmatch(line))
    ]
    if any(PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts for path in paths):
        raise SmosError(
            f"{store.shown}: the bundle {name} names a path that leads out of it",
            remedy="find out who wrote there",
        )
    got = store.read(*(f"{prefix}/{path}" for path in (*paths, SUMS_NAME, *LOOSE)))
    final, partial = reports / FOLDER / name, reports / FOLDER / f".{name}.partial"
    for path, data in got.items():
        write_atomic(partial / path.removeprefix(f"{prefix}/"), data)
    partial.rename(final)
    return len(got)


def _documents(reports: Path) -> tuple[dict[str, str], dict[str, str]]:
    try:
        verdict = untrusted.read_object(reports / verdict_file.FILE_NAME)
        run = untrusted.read_object(reports / origin.FILE_NAME)
        whole = verdict["run_id"] == run["run_id"] and bool(run["finished"])
    except (OSError, ValueError, KeyError, RecursionError):
        whole = False
    if not whole:
        raise SmosError(
            f"{reports} holds no run that has ended",
            remedy="push what a whole run left; see its own output for why it did not end",
        )
    return verdict, run


def _diverged(reports: Path, store: StoreAccess) -> SmosError:
    return SmosError(
        f"The history in {store.shown} is not the beginning of the one in {reports}: nothing of it was overwritten",
        remedy="keep one reports directory for each target; `smos evidence pull` into an empty one takes over the"
        " store's history, and the run that is here stays here",
    )


def _require_chain(data: bytes, store: StoreAccess) -> None:
    lines = data.split(b"\n")
    problems = history.chain_problems(lines)
    if not any(_is_run(line) for line in lines):
        problems = ["no line of it is of a run"]
    if problems:
        raise SmosError(
            f"The history in {store.shown} is damaged or not ours, and was not taken over: {problems[0]}",
            remedy="find out who wrote there; signed bundles beside it hold what it was: `smos evidence verify`",
        )


def _is_run(line: bytes) -> bool:
    try:
        run = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(run, dict) and "run_id" in run


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _lines(data: bytes) -> int:
    return sum(bool(line.strip()) for line in data.split(b"\n"))
