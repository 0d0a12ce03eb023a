"""Whether a bundle is what was signed: signature, digests, completeness, history, order, expiry. Offline.

Everything in a bundle is untrusted; only the public key that the verifier brings is trusted. Each finding names the
file, the field, the check or the line that was altered. Nothing is repaired or written.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import SSlibKey

from smos.errors import TargetError
from smos.evidence import history, statement
from smos.evidence.bundle import (
    ENVELOPES,
    FOLDER,
    RUN_ENVELOPE,
    SIGNING_NAME,
    STAMP_NAME,
    SUMS_NAME,
    bundles,
    digest,
    digests,
)
from smos.verdict import Finding, Verdict, fail, not_proven, note

LARGEST_ENVELOPE = 64 * 2**20
"""Bytes; a real one has some 100 kB."""
MOST_PLACES = 20
"""Altered fields that are named for one statement."""
RUN_AGAIN = "treat the run as not proven, and find out who could write to this folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One bundle. run_id, scope, verdict: what its statement says; empty where it could not be read."""

    bundle: str
    run_id: str
    scope: str
    verdict: str
    findings: tuple[Finding, ...]

    @property
    def result(self) -> Verdict:
        """The worst of the findings: whether the bundle is what was signed, not whether the run passed."""
        return Verdict.worst(finding.verdict for finding in self.findings)


@dataclass(frozen=True, slots=True)
class _Read:
    """An envelope: the payload, and whether the trusted key signed it (None: no key was given)."""

    payload: bytes
    document: dict[str, Any]
    signed: bool | None


def verify(
    folder: Path, *, key: SSlibKey | None, today: date, authority: Path | None = None
) -> tuple[Verification, ...]:
    """Verify a bundle, a folder of bundles, or a reports directory with all its bundles and its history.

    key: the public key that is trusted. authority: certificates (PEM) of the time-stamping authority.
    Raises TargetError when there is nothing to verify.
    """
    if any((folder / name).exists() for name in (*ENVELOPES, SUMS_NAME)):
        return (verify_bundle(folder, key=key, today=today, authority=authority),)
    inside = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    found = bundles(inside)
    if not found:
        raise TargetError(
            f"There is no signed evidence in {folder}",
            remedy="give a bundle (reports/evidence/…), or a reports directory; a run signs when it has a signing key",
        )
    single = [verify_bundle(path, key=key, today=today, authority=authority) for path in found]
    extra = [_order(path, found) for path in found]
    if inside != folder:
        extra[-1] += _live_history(folder / history.FILE_NAME, found[-1] / history.FILE_NAME)
    return tuple(
        Verification(
            bundle=one.bundle,
            run_id=one.run_id,
            scope=one.scope,
            verdict=one.verdict,
            findings=(*one.findings, *more),
        )
        for one, more in zip(single, extra, strict=True)
    )


def verify_bundle(
    folder: Path, *, key: SSlibKey | None, today: date, authority: Path | None = None
) -> Verification:
    """Verify one bundle by itself."""
    findings: list[Finding] = []
    read: dict[str, _Read] = {}
    for name in ENVELOPES:
        try:
            read[name] = _read_envelope(folder / name, key)
        except FileNotFoundError:
            findings.append(fail("evidence-statement", f"{name} is missing", RUN_AGAIN))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SigningError) as error:
            why = str(error) or type(error).__name__
            findings.append(fail("evidence-statement", f"{name} is no signed statement: {why}", RUN_AGAIN))
    if key is None:
        findings.append(
            not_proven(
                "evidence-key",
                "No public key was given, so nobody's signature was checked",
                "give the key that you pinned: --key PUBLIC.pem",
            )
        )
    actual = digests(folder)
    findings += _strange(folder)
    for name, one in read.items():
        if one.signed is False:
            findings += _unsigned(folder, name, one, actual)
        findings += _guarded(_compare, name, one.document, actual)
    run = read.get(RUN_ENVELOPE)
    predicate = _predicate(run.document) if run else {}
    findings += _sums(folder, actual)
    findings += _guarded(_complete, predicate) if run else []
    findings += [
        fail("evidence-history", f"{history.FILE_NAME}: {problem}", RUN_AGAIN)
        for problem in history.chain_problems(_lines(folder / history.FILE_NAME))
    ]
    findings += _newest_line(folder / history.FILE_NAME, predicate)
    findings += _guarded(_expiry, predicate, today) if run else []
    findings += _guarded(_stamp, folder, predicate, authority)
    return Verification(
        bundle=folder.name,
        run_id=str(predicate.get("runId", "")),
        scope=str(predicate.get("scope", "")),
        verdict=str(predicate.get("verdict", "")),
        findings=tuple(dict.fromkeys(findings)),
    )


def _guarded(look: Callable[..., list[Finding]], *arguments: Any) -> list[Finding]:
    """Return what a look finds; a statement of a strange shape is a finding, not a crash."""
    try:
        return look(*arguments)
    except (AttributeError, TypeError, ValueError, KeyError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        return [fail("evidence-statement", f"The statement can't be read as one of ours: {why}", RUN_AGAIN)]


def _read_envelope(path: Path, key: SSlibKey | None) -> _Read:
    if path.is_symlink() or not path.is_file():
        raise FileNotFoundError(path)
    if path.stat().st_size > LARGEST_ENVELOPE:
        raise ValueError("it is too large")
    envelope = Envelope.from_dict(json.loads(path.read_bytes()))
    signed: bool | None = None
    if key is not None:
        try:
            envelope.verify([key], 1)
            signed = envelope.payload_type == statement.PAYLOAD_TYPE
        except SigningError:
            signed = False
    document = json.loads(envelope.payload)
    if not isinstance(document, dict) or document.get("_type") != statement.STATEMENT_TYPE:
        raise ValueError("its payload is no in-toto Statement v1")
    expected = statement.RUN if path.name == RUN_ENVELOPE else statement.TEST_RESULT
    if document.get("predicateType") != expected:
        raise ValueError(f"its predicate is {document.get('predicateType')!r}, not {expected!r}")
    return _Read(envelope.payload, document, signed)


def _unsigned(folder: Path, name: str, read: _Read, actual: Mapping[str, str]) -> list[Finding]:
    """Return that a signature does not fit, and every field that is not as the bundle's files say."""
    text = f"{name} was not signed by your key: its statement or its signature was altered, or another key made it"
    findings = [fail("evidence-signature", text, RUN_AGAIN)]
    try:
        files = {
            path: json.loads((folder / path).read_bytes())
            for path in ("verdict.json", "run.json", SIGNING_NAME)
        }
        measured = json.loads((folder / "rto.json").read_bytes()) if "rto.json" in actual else None
        expected = statement.statements(
            actual,
            verdict=files["verdict.json"],
            run=files["run.json"],
            rto=measured,
            signing=files[SIGNING_NAME],
        )[name]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, AttributeError):
        return findings  # the files themselves are damaged, which is told elsewhere
    places = islice(statement.differences(read.document, expected), MOST_PLACES)
    return findings + [fail("evidence-field", f"{name}: {place}", RUN_AGAIN) for place in places]


def _compare(name: str, document: Mapping[str, Any], actual: Mapping[str, str]) -> list[Finding]:
    """Hold the subjects of a statement against the files that are there."""
    named: dict[str, str] = {}
    for subject in document.get("subject") or ():
        path = str(subject.get("name", ""))
        if not path.startswith(statement.BACKUP_PREFIX):
            named[path] = str(subject.get("digest", {}).get("sha256", ""))
    altered = {path for path in named.keys() & actual.keys() if named[path] != actual[path]}
    texts = [f"{path} is missing, {name} names it" for path in sorted(named.keys() - actual.keys())]
    texts += [f"{path} was added, {name} does not name it" for path in sorted(actual.keys() - named.keys())]
    texts += [f"{path} was altered: it is not what {name} names" for path in sorted(altered)]
    return [fail("evidence-file", text, RUN_AGAIN) for text in texts]


def _strange(folder: Path) -> list[Finding]:
    """Return what lies in a bundle and is no regular file."""
    return [
        fail("evidence-file", f"{path.relative_to(folder).as_posix()} is no regular file", RUN_AGAIN)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not (path.is_file() or path.is_dir())
    ]


def _sums(folder: Path, actual: Mapping[str, str]) -> list[Finding]:
    """Hold SHA256SUMS, which readers without this package go by, against the files."""
    path = folder / SUMS_NAME
    if SUMS_NAME not in actual:
        return []  # told as a missing file
    listed = {}
    for line in path.read_bytes().decode("utf-8", "replace").splitlines():
        value, _, name = line.partition("  ")
        listed[PurePosixPath(name).as_posix()] = value
    expected = {name: value for name, value in actual.items() if name != SUMS_NAME}
    wrong = sorted(name for name in listed.keys() | expected.keys() if listed.get(name) != expected.get(name))
    return [fail("evidence-sums", f"{SUMS_NAME} does not fit {name}", RUN_AGAIN) for name in wrong]


def _complete(predicate: Mapping[str, Any]) -> list[Finding]:
    """Hold the required checks against those that the statement gives a verdict for."""
    given = {str(item.get("id")) for item in predicate.get("checks") or ()}
    dropped = sorted(set(map(str, predicate.get("required") or ())) - given)
    findings = [
        fail("evidence-check", f"The required check {check_id} has no verdict", RUN_AGAIN)
        for check_id in dropped
    ]
    if not given:
        findings.append(fail("evidence-check", "The statement holds no check at all", RUN_AGAIN))
    return findings


def _expiry(predicate: Mapping[str, Any], today: date) -> list[Finding]:
    try:
        end = date.fromisoformat(str(predicate.get("validUntil")))
    except ValueError:
        return [fail("evidence-expiry", "The statement does not say until when it counts", RUN_AGAIN)]
    findings = []
    if today > end:
        text = f"The evidence expired on {end.isoformat()}"
        findings.append(
            not_proven("evidence-expired", text, "run the suite again; the bundle stays as a record")
        )
    for check in predicate.get("checks") or ():
        waiver = check.get("waiver")
        if waiver and today > date.fromisoformat(str(waiver.get("expires"))):
            findings.append(
                not_proven(
                    "evidence-waiver-expired",
                    f"The waiver of {check.get('id')} by {waiver.get('approver')} ended on {waiver.get('expires')}",
                    "run the suite again, with what the waiver excused mended or the waiver renewed",
                )
            )
    return findings


def _stamp(  # noqa: PLR0911  (one answer for each way in which a stamp can be wrong)
    folder: Path, predicate: Mapping[str, Any], authority: Path | None
) -> list[Finding]:
    """Hold the time stamp, where there is one or must be one, against the envelope."""
    path = folder / STAMP_NAME
    wanted = (predicate.get("signing") or {}).get("timestamp_authority")
    if not path.is_file() or path.is_symlink():
        if not wanted:
            return []
        return [
            fail("evidence-timestamp", f"{STAMP_NAME} is missing, the statement names {wanted}", RUN_AGAIN)
        ]
    from smos.evidence.timestamp import LARGEST, made_by, stamped_at

    if path.stat().st_size > LARGEST or not (folder / RUN_ENVELOPE).is_file():
        return [fail("evidence-timestamp", f"{STAMP_NAME} is no stamp of {RUN_ENVELOPE}", RUN_AGAIN)]
    stamp, data = path.read_bytes(), (folder / RUN_ENVELOPE).read_bytes()
    moment = stamped_at(stamp, data)
    if moment is None:
        return [fail("evidence-timestamp", f"{STAMP_NAME} is no stamp of {RUN_ENVELOPE} as it is", RUN_AGAIN)]
    text = f"{RUN_ENVELOPE} was stamped at {moment.isoformat()}"
    if authority is None:
        return [note("evidence-timestamp", f"{text}; who stamped it was not checked (--tsa-ca)")]
    why = made_by(stamp, data, authority)
    if why:
        return [
            fail("evidence-timestamp", f"The stamp is not by the authority that you gave: {why}", RUN_AGAIN)
        ]
    return [note("evidence-timestamp", text)]


def _newest_line(path: Path, predicate: Mapping[str, Any]) -> list[Finding]:
    """Tell where the newest line of a bundle's history is not of its run."""
    lines = [line for line in _lines(path) if line.strip()]
    if not lines or not predicate:
        return []
    try:
        run_id = json.loads(lines[-1])["run_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        run_id = "?"
    if run_id == predicate.get("runId"):
        return []
    text = (
        f"{path.name}: the newest line is of run {run_id}, the statement is of run {predicate.get('runId')}"
    )
    return [fail("evidence-history", text, RUN_AGAIN)]


def _order(bundle: Path, found: Iterable[Path]) -> list[Finding]:  # noqa: PLR0911  (one answer for each case)
    """Hold what a bundle says about the one before it against what is there."""
    by_name = {path.name: path for path in found}
    names = sorted(by_name)
    try:
        previous = json.loads((bundle / SIGNING_NAME).read_bytes())["previous"]
        named = str(previous["bundle"]) if previous else None
        expected = str(previous["sha256"]) if previous else ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []  # told as an altered or missing file
    at = names.index(bundle.name)
    before = names[at - 1] if at else None
    if named is None:
        if before is None:
            return []
        return [fail("evidence-order", f"It names no bundle before it, but {before} is here", RUN_AGAIN)]
    if named not in by_name:
        if before is None:
            return [note("evidence-order", f"The bundle before it, {named}, is not here")]
        return [fail("evidence-order", f"The bundle before it, {named}, was dropped", RUN_AGAIN)]
    if named != before:
        return [fail("evidence-order", f"It was made after {named}, but lies after {before}", RUN_AGAIN)]
    if not (by_name[named] / RUN_ENVELOPE).is_file() or digest(by_name[named] / RUN_ENVELOPE) != expected:
        return [
            fail("evidence-order", f"{named}/{RUN_ENVELOPE} is not the one that it was made after", RUN_AGAIN)
        ]
    return []


def _live_history(live: Path, sealed: Path) -> list[Finding]:
    """Tell where the history of a reports directory does not go on from the one of its newest bundle."""
    held, now = _lines(sealed), _lines(live)
    findings = []
    for number, (one, other) in enumerate(zip(held, now, strict=False), start=1):
        if one != other:
            findings.append(
                fail(
                    "evidence-history",
                    f"reports/{live.name}: line {number} is not as it was signed",
                    RUN_AGAIN,
                )
            )
            break
    if len(now) < len(held):
        text = f"reports/{live.name} has {len(now)} lines, {len(held)} were signed"
        findings.append(fail("evidence-history", text, RUN_AGAIN))
    findings += [
        fail("evidence-history", f"reports/{live.name}: {problem}", RUN_AGAIN)
        for problem in history.chain_problems(now)
    ]
    return findings


def _lines(path: Path) -> list[bytes]:
    if path.is_symlink() or not path.is_file():
        return []
    return [line for line in path.read_bytes().split(b"\n") if line.strip()]


def _predicate(document: Mapping[str, Any]) -> dict[str, Any]:
    found = document.get("predicate")
    return found if isinstance(found, dict) else {}
