"""A bundle: a folder `evidence/<moment>-<run>/` with a copy of what one run left, and the signed statements over it.

Bundles are never rewritten; each names the digest of the one before. Whoever has the public key can check one without
this package: docs/evidence.md gives the commands of openssl and sha256sum.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import Signer

from smos.clock import Clock
from smos.errors import SmosError
from smos.evidence import allure, consistency, detection, history, origin, rto, untrusted, verdict_file
from smos.evidence.files import write_atomic, write_json
from smos.evidence.statement import PAYLOAD_TYPE, encode, statements

FOLDER = "evidence"
SIGNING_NAME, SUMS_NAME, RUN_ENVELOPE = "signing.json", "SHA256SUMS", "run.dsse.json"
ENVELOPES = (RUN_ENVELOPE, "test-result.dsse.json")
STAMP_NAME = f"{RUN_ENVELOPE}.tsr"
LOOSE = (*ENVELOPES, STAMP_NAME)
"""Files of a bundle that no statement can name: they are made after it."""
EVIDENCE = (
    verdict_file.FILE_NAME,
    origin.FILE_NAME,
    rto.JSON_NAME,
    rto.PROM_NAME,
    "summary.md",
    "evidence.html",
    "junit.xml",
    "findings.sarif",
    "oscal-assessment-plan.json",
    "oscal-assessment-results.json",
    detection.FILE_NAME,
    history.FILE_NAME,
)
"""What is taken over from a reports directory, where it is there and of this run; and Allure's own results of it."""
CHUNK = 2**20


def seal(reports: Path, signer: Signer, *, clock: Clock, timestamp_url: str | None = None) -> Path:
    """Copy what the newest run left, sign it, and return the bundle.

    Raises SmosError when the run has not ended, was sealed already, or can't be signed or time-stamped; OSError.
    """
    verdict, run = _documents(reports)
    consistency.require(reports, verdict, run)
    name = bundle_name(run["finished"], verdict["run_id"])
    folder = reports / FOLDER
    final, partial = folder / name, folder / f".{name}.partial"
    if any(path.name.endswith(f"-{name.partition('-')[2]}") for path in bundles(folder)):
        raise SmosError(
            f"The run {verdict['run_id']} is sealed already",
            remedy="a bundle is never rewritten; run again to get a new one",
        )
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _fill(reports, partial, run)
        signing = {
            "schema": 1,
            "signed_at": clock.now().isoformat(timespec="seconds"),
            "key_id": signer.public_key.keyid,
            "timestamp_authority": timestamp_url,
            "previous": _previous(folder),
        }
        write_json(partial / SIGNING_NAME, signing)
        listed = digests(partial)
        write_atomic(
            partial / SUMS_NAME, "".join(f"{listed[path]}  {path}\n" for path in sorted(listed)).encode()
        )
        measured = _read_json(partial / rto.JSON_NAME) if rto.JSON_NAME in listed else None
        listed[SUMS_NAME] = digest(partial / SUMS_NAME)
        made = statements(listed, verdict=verdict, run=run, rto=measured, signing=signing)
        for file_name, statement in made.items():
            envelope = Envelope(encode(statement), PAYLOAD_TYPE, {})
            envelope.sign(signer)
            write_json(partial / file_name, envelope.to_dict())
        if timestamp_url is not None:
            from smos.evidence.timestamp import request_stamp

            data = (partial / RUN_ENVELOPE).read_bytes()
            write_atomic(partial / STAMP_NAME, request_stamp(timestamp_url, data))
        partial.rename(final)
    except SigningError as error:
        raise SmosError(f"The evidence could not be signed: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def bundle_name(finished: str, run_id: str) -> str:
    """Return the name of the folder of a run's bundle. Raises ValueError when `finished` is no moment."""
    moment = datetime.fromisoformat(finished).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{re.sub(r'[^A-Za-z0-9_.]', '_', run_id)[:40]}"


def newest(found: Sequence[Path]) -> Path | None:
    """Return the bundle that no other one was made after; the clock may have been set back since."""
    named = set()
    for path in found:
        try:
            previous = untrusted.read_object(path / SIGNING_NAME)["previous"]
            named.add(str(previous["bundle"]) if previous else "")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # verification tells that it is damaged
    last = [path for path in found if path.name not in named] or list(found)
    return last[-1] if last else None


def bundles(folder: Path) -> list[Path]:
    """Return the bundles in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a bundle that a statement can name, by its path with forward slashes."""
    found = {}
    for path in walk(folder):
        name = path.relative_to(folder).as_posix()
        if name not in LOOSE:
            found[name] = digest(path)
    return found


def walk(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder; links are never followed."""
    for base, _, names in os.walk(folder, followlinks=False):
        for name in names:
            path = Path(base, name)
            if path.is_file() and not path.is_symlink():
                yield path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal. Raises OSError."""
    total = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _documents(reports: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    remedy = "run a suite first, and sign the directory that --reports named"
    try:
        verdict = _read_json(reports / verdict_file.FILE_NAME)
        run = _read_json(reports / origin.FILE_NAME)
    except (OSError, ValueError) as error:
        raise SmosError(f"{reports} holds no evidence of a run that has ended", remedy=remedy) from error
    if run.get("run_id") != verdict.get("run_id") or not verdict.get("checks"):
        raise SmosError(f"The run in {reports} has not ended, or not been completed", remedy=remedy)
    return verdict, run


def _fill(reports: Path, bundle: Path, run: dict[str, Any]) -> None:
    """Copy what is of this run: a later run without checks leaves its own matrix and Allure results there."""
    for name in EVIDENCE:
        mine = name != detection.FILE_NAME or consistency.names_matrix(reports, run)
        if mine and (reports / name).is_file():
            shutil.copyfile(reports / name, bundle / name)
    results = reports / allure.RESULTS_NAME
    if not allure.is_of_run(results, str(run["run_id"])):
        return
    (bundle / allure.RESULTS_NAME).mkdir()
    for path in allure.own_files(results):
        shutil.copyfile(path, bundle / allure.RESULTS_NAME / path.name)


def _previous(folder: Path) -> dict[str, str] | None:
    """Return the newest bundle and the digest of its statement, so that dropping one later is noticed."""
    last = newest([path for path in bundles(folder) if (path / RUN_ENVELOPE).is_file()])
    return {"bundle": last.name, "sha256": digest(last / RUN_ENVELOPE)} if last else None


def _read_json(path: Path) -> dict[str, Any]:
    data = json.loads(path.read_bytes())
    if not isinstance(data, dict):
        raise ValueError(f"{path.name} holds no object")  # noqa: TRY004  (a bad value of a file, not of an argument)
    return data
