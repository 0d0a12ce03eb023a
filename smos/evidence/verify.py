"""Whether a bundle is what was signed: signature, digests, completeness, history, order, expiry. Offline.

Everything in a bundle is untrusted; only the public key that the verifier brings is trusted. Each finding names the
file, the field, the check or the line that was altered. Nothing is repaired or written.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import SSlibKey

from smos.errors import TargetError
from smos.evidence import history, statement, untrusted
from smos.evidence.bundle import (
    ENVELOPES,
    FOLDER,
    LOOSE,
    RUN_ENVELOPE,
    SIGNING_NAME,
    STAMP_NAME,
    SUMS_NAME,
    bundles,
    newest,
)
from smos.evidence.order import RUN_AGAIN, beside, chain, lines
from smos.verdict import Finding, Verdict, fail, not_proven, note

LARGEST_ENVELOPE = 64 * 2**20
"""Bytes; a real one has some 100 kB."""
MOST_PLACES = 20
"""Altered fields that are named for one statement."""
CORE = (
    "runId",
    "scope",
    "target",
    "verdict",
    "started",
    "finished",
    "validUntil",
    "required",
    "missing",
    "result",
    "passedTests",
    "warnedTests",
    "failedTests",
)
"""Fields of the predicates that must be as verdict.json and run.json say, whoever signed them."""
CLOCKS = timedelta(days=1)
"""How far the clocks of who ran and who verifies may lie apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One bundle. run_id, scope, target, verdict, finished: what its statement says; empty where it can't be read."""

    bundle: str
    run_id: str
    scope: str
    target: str
    verdict: str
    finished: str
    findings: tuple[Finding, ...]

    @property
    def result(self) -> Verdict:
        """The worst of the findings: whether the bundle is what was signed, not whether the run passed."""
        return Verdict.worst(finding.verdict for finding in self.findings)


@dataclass(frozen=True, slots=True)
class _Read:
    """An envelope: its statement, whether the trusted key signed it (None: no key was given), what was added to it."""

    document: dict[str, Any]
    signed: bool | None
    added: str


def verify(
    folder: Path,
    *,
    key: SSlibKey | None,
    today: date,
    authority: Path | None = None,
    about: str | None = None,
    scope: str | None = None,
) -> tuple[Verification, ...]:
    """Verify a bundle, a folder of bundles, or a reports directory with all its bundles and its history.

    key: the public key that is trusted. authority: certificates (PEM) of the time-stamping authority. about, scope:
    the target and the scope that the evidence must be of; None: any.
    Raises TargetError when there is nothing to verify.
    """
    if any((folder / name).exists() for name in (*ENVELOPES, SUMS_NAME)):
        return (_verify_bundle(folder, key, today, authority, about, scope)[0],)
    inside = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    found = bundles(inside)
    last = newest(found)
    if last is None:
        raise TargetError(
            f"There is no signed evidence in {folder}",
            remedy="give a bundle (reports/evidence/…), or a reports directory; a run signs when it has a signing key",
        )
    single = {path.name: _verify_bundle(path, key, today, authority, about, scope) for path in found}
    predicates = {name: predicate for name, (_, predicate) in single.items()}
    extra = chain(found, predicates)
    if inside != folder:
        extra[last.name] += beside(folder, found, predicates)
    return tuple(
        replace(one, findings=tuple(dict.fromkeys((*one.findings, *extra[name]))))
        for name, (one, _) in single.items()
    )


def _verify_bundle(
    folder: Path,
    key: SSlibKey | None,
    today: date,
    authority: Path | None,
    about: str | None,
    scope: str | None,
) -> tuple[Verification, dict[str, Any]]:
    """Verify one bundle by itself; return the predicate of its statement as well, empty where there is none."""
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
    there = untrusted.survey(folder, skip=LOOSE)
    actual = there.digests
    findings += [fail("evidence-file", text, RUN_AGAIN) for text in there.strange]
    for name, one in read.items():
        if one.added:
            findings.append(fail("evidence-signature", f"{name} {one.added}", RUN_AGAIN))
        compared = _guarded(_compare, name, one.document, actual)
        findings += compared
        findings += _fields(folder, name, one, actual, core=one.signed is not False, sound=not compared)
    run = read.get(RUN_ENVELOPE)
    predicate = _predicate(run.document) if run else {}
    findings += _sums(folder, actual)
    findings += _guarded(_complete, predicate) if run else []
    held = lines(folder / history.FILE_NAME)
    findings += [
        fail("evidence-history", f"{history.FILE_NAME}: {problem}", RUN_AGAIN)
        for problem in history.chain_problems(held)
    ]
    findings += _newest_line(held, predicate)
    findings += _guarded(_expiry, predicate, today) if run else []
    findings += _guarded(_asked, predicate, about, scope) if run else []
    findings += _guarded(_stamp, folder, predicate, authority)
    verification = Verification(
        bundle=folder.name,
        run_id=str(predicate.get("runId", "")),
        scope=str(predicate.get("scope", "")),
        target=str(predicate.get("target", "")),
        verdict=str(predicate.get("verdict", "")),
        finished=str(predicate.get("finished", "")),
        findings=tuple(dict.fromkeys(findings)),
    )
    return verification, predicate


def _guarded(look: Callable[..., list[Finding]], *arguments: Any) -> list[Finding]:
    """Return what a look finds; a statement of a strange shape is a finding, not a crash."""
    try:
        return look(*arguments)
    except (AttributeError, TypeError, ValueError, KeyError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        return [fail("evidence-statement", f"The statement can't be read as one of ours: {why}", RUN_AGAIN)]


def _read_envelope(path: Path, key: SSlibKey | None) -> _Read:
    raw = untrusted.read(path, LARGEST_ENVELOPE)
    envelope = Envelope.from_dict(untrusted.parse(raw))
    signed: bool | None = None
    if key is not None:
        try:
            envelope.verify([key], 1)
            signed = envelope.payload_type == statement.PAYLOAD_TYPE
        except SigningError:
            signed = False
    document = untrusted.parse(envelope.payload)
    if not isinstance(document, dict) or document.get("_type") != statement.STATEMENT_TYPE:
        raise ValueError("its payload is no in-toto Statement v1")
    expected = statement.RUN if path.name == RUN_ENVELOPE else statement.TEST_RESULT
    if document.get("predicateType") != expected:
        raise ValueError(f"its predicate is {document.get('predicateType')!r}, not {expected!r}")
    return _Read(document, signed, _added(envelope, raw))


def _added(envelope: Envelope, raw: bytes) -> str:
    """Return what an envelope holds beside the statement and one signature: nothing else in it is signed."""
    if len(envelope.signatures) != 1:
        return f"holds {len(envelope.signatures)} signatures, a run makes one: the others were added or taken away"
    ((key_id, signature),) = envelope.signatures.items()
    exact = {
        "payload": b64encode(envelope.payload).decode(),
        "payloadType": envelope.payload_type,
        "signatures": [
            {"keyid": key_id, "sig": b64encode(bytes.fromhex(signature.signature)).decode()},
        ],
    }
    if raw == (json.dumps(exact, indent=1, ensure_ascii=False) + "\n").encode():
        return ""
    return "is not as it was written: something was added around what is signed"


def _fields(
    folder: Path, name: str, one: _Read, actual: Mapping[str, str], *, core: bool, sound: bool
) -> list[Finding]:
    """Return that a signature does not fit, and every field that is not as the bundle's files say.

    core: the signature fits, so only what matters most is compared, and where the files are those that were signed
    (sound): an older version of this package may have said more or less.
    """
    findings = []
    if not core:
        text = f"{name} was not signed by your key: its statement or its signature was altered, or another key made it"
        findings.append(fail("evidence-signature", text, RUN_AGAIN))
    elif not sound:
        return []
    try:
        files = {
            path: untrusted.read_object(folder / path) for path in ("verdict.json", "run.json", SIGNING_NAME)
        }
        measured = untrusted.read_object(folder / "rto.json") if "rto.json" in actual else None
        expected = statement.statements(
            actual,
            verdict=files["verdict.json"],
            run=files["run.json"],
            rto=measured,
            signing=files[SIGNING_NAME],
        )[name]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, AttributeError):
        return findings  # the files themselves are damaged, which is told elsewhere
    if core:
        return findings + _guarded(_core, name, one.document, expected)
    places = islice(statement.differences(one.document, expected), MOST_PLACES)
    return findings + [fail("evidence-field", f"{name}: {place}", RUN_AGAIN) for place in places]


def _core(name: str, signed: Mapping[str, Any], expected: Mapping[str, Any]) -> list[Finding]:
    """Hold the fields that decide, and the backups, against the files of the bundle."""
    said, files = signed["predicate"], expected["predicate"]
    places: list[str] = []
    for key in CORE:
        if key in files:
            places += statement.differences(said.get(key), files[key], f"predicate.{key}")
    if "checks" in files:
        given, held = (
            [{key: item[key] for key in ("id", "verdict", "waiver")} for item in one["checks"]]
            for one in (said, files)
        )
        places += statement.differences(given, held, "predicate.checks")
    named, inspected = (
        {
            item["name"]: item["digest"]
            for item in one["subject"]
            if item["name"].startswith(statement.BACKUP_PREFIX)
        }
        for one in (signed, expected)
    )
    places += statement.differences(named, inspected, "subject")
    return [fail("evidence-field", f"{name}: {place}", RUN_AGAIN) for place in places[:MOST_PLACES]]


def _compare(name: str, document: Mapping[str, Any], actual: Mapping[str, str]) -> list[Finding]:
    """Hold the subjects of a statement against the files that are there."""
    named: dict[str, str] = {}
    folded: dict[str, str] = {}
    texts = []
    for subject in document.get("subject") or ():
        path = str(subject.get("name", ""))
        backup = path.startswith(statement.BACKUP_PREFIX)
        if path in folded.values():
            texts.append(f"{name} names {path} twice")
        elif path.casefold() in folded and not backup:
            texts.append(f"{name} names both {folded[path.casefold()]} and {path}")
        folded[path if backup else path.casefold()] = path
        if backup:
            continue
        if path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
            texts.append(f"{name} names {path}, which is no path in a bundle")
        named.setdefault(path, str(subject.get("digest", {}).get("sha256", "")))
    altered = {path for path in named.keys() & actual.keys() if named[path] != actual[path]}
    texts += [f"{path} is missing, {name} names it" for path in sorted(named.keys() - actual.keys())]
    texts += [f"{path} was added, {name} does not name it" for path in sorted(actual.keys() - named.keys())]
    texts += [f"{path} was altered: it is not what {name} names" for path in sorted(altered)]
    return [fail("evidence-file", text, RUN_AGAIN) for text in texts]


def _sums(folder: Path, actual: Mapping[str, str]) -> list[Finding]:
    """Hold SHA256SUMS, which readers without this package go by, against the files."""
    try:
        text = untrusted.read(folder / SUMS_NAME).decode("utf-8", "replace")
    except (OSError, ValueError):
        return []  # told as a missing or altered file
    listed = {}
    for line in text.splitlines():
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
    finished = datetime.fromisoformat(str(predicate.get("finished"))).astimezone(UTC)
    if finished.date() > today + CLOCKS:
        findings.append(
            not_proven(
                "evidence-clock",
                f"The run says that it ended at {finished.isoformat()}, after the day that you ask about",
                "look at the clocks of the machine that ran it and of this one; durations are not affected",
            )
        )
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


def _asked(predicate: Mapping[str, Any], about: str | None, scope: str | None) -> list[Finding]:
    """Tell where sound evidence is of something else than what was asked for."""
    findings = []
    if about is not None and predicate.get("target") != about:
        text = f"The evidence is about {predicate.get('target')!r}, not about {about!r}"
        findings.append(not_proven("evidence-target", text, "ask for the evidence of this target"))
    if scope is not None and predicate.get("scope") != scope:
        text = f"The evidence is of the scope {predicate.get('scope')!r}, not {scope!r}"
        findings.append(not_proven("evidence-scope", text, "ask for the evidence of this scope"))
    if predicate.get("scope") == "self-test":
        text = "It is a self-test: it speaks about the harness, satisfies no control and says nothing about production"
        findings.append(note("evidence-scope", text))
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


def _newest_line(held: list[bytes], predicate: Mapping[str, Any]) -> list[Finding]:
    """Tell where the newest line of a bundle's history is not of its run, or says something else of it."""
    if not held or not predicate:
        return []
    name = history.FILE_NAME
    try:
        newest_line = json.loads(held[-1])
        run_id = newest_line["run_id"]
        if run_id == predicate.get("runId") and newest_line["verdict"] != predicate.get("verdict"):
            text = f"{name}: the newest line says {newest_line['verdict']}, the statement {predicate.get('verdict')}"
            return [fail("evidence-history", text, RUN_AGAIN)]
    except (ValueError, KeyError, TypeError, RecursionError):
        run_id = "?"
    if run_id == predicate.get("runId"):
        return []
    text = f"{name}: the newest line is of run {run_id}, the statement is of run {predicate.get('runId')}"
    return [fail("evidence-history", text, RUN_AGAIN)]


def _predicate(document: Mapping[str, Any]) -> dict[str, Any]:
    found = document.get("predicate")
    return found if isinstance(found, dict) else {}
