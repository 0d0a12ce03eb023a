"""How bundles stand to each other and to the reports beside them: nothing dropped, moved, doubled or replaced.

The order of bundles is the chain of their digests, never their names: a clock can be set back.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from smos.evidence import history, untrusted
from smos.evidence.bundle import EVIDENCE, RUN_ENVELOPE, SIGNING_NAME, bundle_name, digest, newest
from smos.evidence.detection import BEGIN
from smos.verdict import Finding, fail, not_proven, note

RUN_AGAIN = "treat the run as not proven, and find out who could write to this folder"
BAD = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)

Json = Mapping[str, Any]


def chain(found: Sequence[Path], predicates: Mapping[str, Json]) -> dict[str, list[Finding]]:
    """Return, by name of its folder, what is wrong with the place of each bundle. predicates: of their statements."""
    named = {path.name: _previous(path) for path in found}
    roots = sorted(name for name, before in named.items() if not before or before["bundle"] not in named)
    told: dict[str, list[Finding]] = {name: [] for name in named}
    for path in found:
        told[path.name] += _own_name(path, predicates.get(path.name, {}))
        before = named[path.name]
        if path.is_symlink():
            told[path.name].append(_wrong("It is a link to a folder elsewhere"))
        if before is None:
            continue  # told as an altered or missing file
        previous = before.get("bundle")
        if previous not in named:
            told[path.name] += _root(path.name, previous, roots)
            continue
        envelope = path.parent / previous / RUN_ENVELOPE
        if not envelope.is_file() or digest(envelope) != before["sha256"]:
            told[path.name].append(_wrong(f"{previous}/{RUN_ENVELOPE} is not the one that it was made after"))
        twin = min(name for name, other in named.items() if other and other.get("bundle") == previous)
        if twin != path.name:
            told[path.name].append(_wrong(f"It and {twin} both say that they were made after {previous}"))
        told[path.name] += _clock(predicates.get(path.name, {}), predicates.get(previous, {}))
    return told


def beside(reports: Path, found: Sequence[Path], predicates: Mapping[str, Json]) -> list[Finding]:
    """Hold the reports that lie beside the bundles, which people open first, against the newest bundle."""
    last = newest(found)
    if last is None:
        return []
    findings = _live_history(reports / history.FILE_NAME, last / history.FILE_NAME)
    if not (reports / "verdict.json").exists():
        return findings
    try:
        run_id = str(untrusted.read_object(reports / "verdict.json")["run_id"])
    except BAD:
        return [*findings, _file("reports/verdict.json is not the one that was signed")]
    if run_id != str(predicates.get(last.name, {}).get("runId")):
        text = f"reports/ holds run {run_id}, the newest bundle is of run {predicates.get(last.name, {}).get('runId')}"
        remedy = "read the reports inside the bundles; sign newer ones with smos evidence sign"
        return [*findings, not_proven("evidence-unsigned", text, remedy)]
    for name in EVIDENCE:
        findings += _same(reports / name, last / name)
    return findings


def _same(live: Path, sealed: Path) -> list[Finding]:  # noqa: PLR0911  (one answer for each case)
    """Tell where a report differs from the one that was signed."""
    name = f"reports/{live.name}"
    if live.name in {history.FILE_NAME, "detection.json"} or not (live.exists() or live.is_symlink()):
        return []
    try:
        now = untrusted.read(live)
    except (OSError, ValueError):
        return [_file(f"{name} can't be read as a report")]
    try:
        then = untrusted.read(sealed)
    except (OSError, ValueError):
        return [_file(f"{name} is not part of the bundle of its run")]
    if now == then:
        return []
    if live.name == "summary.md" and now.startswith(then.rstrip() + b"\n\n" + BEGIN[:5].encode()):
        return [note("evidence-file", f"{name} goes on after what was signed")]
    if live.name == "evidence.html" and now in _pages(sealed.parent):
        return []
    return [_file(f"{name} is not the one that was signed: read the one in the bundle")]


def _pages(bundle: Path) -> list[bytes]:
    """Return the page of a bundle's run in every language, as `smos evidence page` renders it."""
    from smos.evidence.page import page
    from smos.evidence.texts import LANGUAGES

    try:
        verdict, run = (untrusted.read_object(bundle / name) for name in ("verdict.json", "run.json"))
        measured = untrusted.read_object(bundle / "rto.json") if (bundle / "rto.json").exists() else None
        runs = list(history.read_history(bundle))
        return [page(verdict, run, measured, runs, language).encode() for language in LANGUAGES]
    except BAD:
        return []  # the bundle's own files are damaged, which is told with it


def _live_history(live: Path, sealed: Path) -> list[Finding]:
    """Tell where the history of a reports directory does not go on from the one of its newest bundle."""
    held, now = lines(sealed), lines(live)
    findings = []
    for number, (one, other) in enumerate(zip(held, now, strict=False), start=1):
        if one != other:
            findings.append(_history(f"reports/{live.name}: line {number} is not as it was signed"))
            break
    if len(now) < len(held):
        findings.append(_history(f"reports/{live.name} has {len(now)} lines, {len(held)} were signed"))
    findings += [_history(f"reports/{live.name}: {problem}") for problem in history.chain_problems(now)]
    return findings


def lines(path: Path) -> list[bytes]:
    """Return the lines of a history that are not empty; none where it can't be read, which is told elsewhere."""
    try:
        return [line for line in untrusted.read(path).split(b"\n") if line.strip()]
    except (OSError, ValueError):
        return []


def _previous(bundle: Path) -> dict[str, str] | None:
    """Return what a bundle names as the one before it, empty where it is the first; None where it can't be read."""
    try:
        previous = untrusted.read_object(bundle / SIGNING_NAME)["previous"]
        return {"bundle": str(previous["bundle"]), "sha256": str(previous["sha256"])} if previous else {}
    except BAD:
        return None


def _root(name: str, previous: str | None, roots: Sequence[str]) -> list[Finding]:
    """Tell what is wrong with a bundle that has none before it here: only one can begin."""
    first = roots[0]
    if previous is None:
        return [] if name == first else [_wrong(f"It names no bundle before it, but {first} is here")]
    if name == first:
        return [note("evidence-order", f"The bundle before it, {previous}, is not here")]
    return [_wrong(f"The bundle before it, {previous}, was dropped")]


def _own_name(bundle: Path, predicate: Json) -> list[Finding]:
    try:
        expected = bundle_name(str(predicate["finished"]), str(predicate["runId"]))
    except BAD:
        return []  # told with the statement
    if bundle.name == expected:
        return []
    return [
        _wrong(f"{bundle.name} holds the bundle of run {predicate['runId']}, which was made as {expected}")
    ]


def _clock(predicate: Json, before: Json) -> list[Finding]:
    try:
        here, there = (datetime.fromisoformat(str(one["finished"])) for one in (predicate, before))
        back = here.astimezone(UTC) < there.astimezone(UTC)
    except BAD:
        return []  # told with the statement
    if not back:
        return []
    run_id, moments = (
        predicate.get("runId"),
        f"{here.isoformat()}, before the run that it follows ({there.isoformat()})",
    )
    text = f"Run {run_id} ended at {moments}"
    remedy = "a clock was changed between them: mend it, and run again; durations are not affected"
    return [not_proven("evidence-clock", text, remedy)]


def _wrong(text: str) -> Finding:
    return fail("evidence-order", text, RUN_AGAIN)


def _file(text: str) -> Finding:
    return fail("evidence-file", text, RUN_AGAIN)


def _history(text: str) -> Finding:
    return fail("evidence-history", text, RUN_AGAIN)
