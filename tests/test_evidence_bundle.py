"""Signed bundles: whatever is altered is found, and named; and readers without this package find it as well."""

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from jsonschema import Draft202012Validator, FormatChecker

from smos.clock import SystemClock
from smos.errors import SmosError
from smos.evidence import history
from smos.evidence.bundle import ENVELOPES, RUN_ENVELOPE, SUMS_NAME, digests, seal
from smos.evidence.signers import load_public, load_signer
from smos.evidence.statement import encode
from smos.evidence.verify import Verification, verify
from smos.verdict import Verdict
from tests._evidence_kit import DAY, keys, run_into, sealed
from tests.test_evidence import ALL, ROOT

# mypy: disable-error-code="type-arg"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Return a bundle, the public key and the private key."""
    folder = tmp_path_factory.mktemp("evidence")
    private, public = keys(folder)
    return sealed(folder / "reports", private), public, private


@pytest.fixture
def bundle(original: tuple[Path, Path, Path], tmp_path: Path) -> Path:
    """Return a copy of the bundle, to be altered."""
    return Path(shutil.copytree(original[0], tmp_path / original[0].name))


@pytest.fixture
def public(original: tuple[Path, Path, Path]) -> Path:
    """Return the public key."""
    return original[1]


def look(folder: Path, public: Path | None, today: date = DAY) -> Verification:
    """Verify a single bundle."""
    (one,) = verify(folder, key=load_public(public) if public else None, today=today)
    return one


def codes(one: Verification) -> set[str]:
    """Return the codes of the findings that count."""
    return {finding.code for finding in one.findings if finding.verdict is not Verdict.PASS}


def text(one: Verification) -> str:
    """Return all messages."""
    return "\n".join(finding.message for finding in one.findings)


def payload_of(path: Path) -> dict:
    """Return the statement in an envelope."""
    return json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"]))


def write_payload(path: Path, statement: dict) -> None:
    """Put another statement into an envelope, and keep its signature."""
    envelope = json.loads(path.read_bytes())
    envelope["payload"] = base64.b64encode(encode(statement)).decode()
    path.write_text(json.dumps(envelope, indent=1) + "\n", encoding="utf-8")


# --- what stands in a bundle --------------------------------------------------------------------------------


def test_an_untouched_bundle_is_what_was_signed(bundle: Path, public: Path) -> None:
    one = look(bundle, public)
    assert (one.result, one.findings) == (Verdict.PASS, ())
    assert (one.run_id, one.scope, one.verdict) == ("run1", "production", "PASS")


def test_the_statements_are_in_totos_and_as_documented(bundle: Path) -> None:
    for name in ENVELOPES:
        document = payload_of(bundle / name)
        Statement.copy_from_pb(ParseDict(document, StatementMessage())).validate()
        names = [subject["name"] for subject in document["subject"]]
        assert len(names) == len(set(names))
        assert {*digests(bundle), "backup:s1/app.dump", "backup:s1/big"} == set(names)
    schema = json.loads((ROOT / "docs" / "run-predicate.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    predicate = payload_of(bundle / RUN_ENVELOPE)["predicate"]
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(predicate)
    assert predicate["approvedBy"] == "ana.perez"
    assert predicate["recovery"]["rto_actual_s"] == 200.25
    assert {"what": "phase decrypt", "why": "the backups are not encrypted"} in predicate["exclusions"]
    test_result = payload_of(bundle / "test-result.dsse.json")["predicate"]
    assert test_result["result"] == "WARNED"
    assert test_result["warnedTests"] == ["DR-08"]
    assert test_result["passedTests"] == list(ALL[:7])


def test_what_is_not_proven_has_failed_for_tools_that_know_only_two_words(tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    verdicts = {"DR-03": Verdict.NOT_PROVEN, "DR-04": Verdict.ERROR}
    made = sealed(tmp_path / "reports", private, verdicts=verdicts)
    predicate = payload_of(made / "test-result.dsse.json")["predicate"]
    assert predicate["result"] == "FAILED"
    assert predicate["failedTests"] == ["DR-03", "DR-04"]


def test_a_self_test_names_no_control_in_its_statement(tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    made = sealed(tmp_path / "reports", private, scope="self-test")
    predicate = payload_of(made / RUN_ENVELOPE)["predicate"]
    assert predicate["scope"] == "self-test"
    assert predicate["coverage"] == []
    assert all(check["controls"] == [] for check in predicate["checks"])


def test_a_bundle_is_never_rewritten_and_an_unfinished_run_is_never_signed(tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    sealed(tmp_path / "reports", private)
    signer = load_signer(str(private))
    with pytest.raises(SmosError, match="sealed already"):
        seal(tmp_path / "reports", signer, clock=SystemClock())
    (tmp_path / "reports" / "run.json").unlink()
    with pytest.raises(SmosError, match="no evidence of a run that has ended"):
        seal(tmp_path / "reports", signer, clock=SystemClock())
    run_into(tmp_path / "other")
    document = json.loads((tmp_path / "other" / "verdict.json").read_bytes())
    (tmp_path / "other" / "verdict.json").write_text(json.dumps(document | {"checks": []}), encoding="utf-8")
    with pytest.raises(SmosError, match="has not ended"):
        seal(tmp_path / "other", signer, clock=SystemClock())
    assert [path.name for path in (tmp_path / "other").glob("evidence/*")] == []


# --- tampering ----------------------------------------------------------------------------------------------


def test_a_change_of_any_file_is_found_and_named(original: tuple[Path, Path, Path], tmp_path: Path) -> None:
    names = sorted(
        path.relative_to(original[0]).as_posix() for path in original[0].rglob("*") if path.is_file()
    )
    assert len(names) >= 11
    for number, name in enumerate(names):
        copy = Path(shutil.copytree(original[0], tmp_path / str(number)))
        data = bytearray((copy / name).read_bytes())
        middle = len(data) // 2
        data[middle] = ord("A") if data[middle] != ord("A") else ord("B")
        (copy / name).write_bytes(bytes(data))
        one = look(copy, original[1])
        assert one.result is Verdict.FAIL, name
        assert name in text(one), (name, text(one))


def test_a_removed_and_an_added_file_are_found_and_named(bundle: Path, public: Path) -> None:
    for name in [*sorted(digests(bundle)), *ENVELOPES]:
        data = (bundle / name).read_bytes()
        (bundle / name).unlink()
        one = look(bundle, public)
        assert one.result is Verdict.FAIL, name
        assert f"{name} is missing" in text(one)
        (bundle / name).write_bytes(data)
    (bundle / "more.txt").write_text("x", encoding="utf-8")
    (bundle / "verdict-link.json").symlink_to("verdict.json")
    os.mkfifo(bundle / "pipe")
    found = text(look(bundle, public))
    assert "more.txt was added" in found
    assert "verdict-link.json is no regular file" in found
    assert "pipe is no regular file" in found


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the way to every value of a document that holds no others, and to every empty list and object."""
    items = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if items is None or not value:
        yield path
        return
    for key, inner in list(items):
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_change_of_any_field_of_a_statement_is_found_and_named(
    bundle: Path, public: Path, name: str
) -> None:
    statement = payload_of(bundle / name)
    envelope = (bundle / name).read_bytes()
    ways = list(places(statement))
    assert len(ways) > 40
    for way in ways:
        changed = json.loads(json.dumps(statement))
        inside = changed
        for key in way[:-1]:
            inside = inside[key]
        inside[way[-1]] = "altered"
        write_payload(bundle / name, changed)
        one = look(bundle, public)
        assert one.result is Verdict.FAIL, way
        if way[0] not in {"_type", "predicateType"}:
            assert "evidence-signature" in codes(one), way
            assert re.search(
                r"[.\[]".join(re.escape(str(key)) + r"\]?" for key in way) + " (is|has)", text(one)
            ), way
        (bundle / name).write_bytes(envelope)
    assert look(bundle, public).result is Verdict.PASS


def test_a_dropped_check_is_found_and_named(bundle: Path, public: Path) -> None:
    statement = payload_of(bundle / RUN_ENVELOPE)
    statement["predicate"]["checks"] = [
        item for item in statement["predicate"]["checks"] if item["id"] != "DR-08"
    ]
    write_payload(bundle / RUN_ENVELOPE, statement)
    one = look(bundle, public)
    assert {"evidence-signature", "evidence-check"} <= codes(one)
    assert "DR-08 has no verdict" in text(one)


def test_a_check_that_is_dropped_everywhere_and_signed_by_another_key_is_found(
    bundle: Path, public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smos.evidence.consistency.require", lambda *_: None)  # a forger has no such scruples
    (tmp_path / "mallory").mkdir()
    private, other = keys(tmp_path / "mallory")
    reports = tmp_path / "forged"
    shutil.copytree(bundle, reports)
    shutil.rmtree(reports / "evidence", ignore_errors=True)
    document = json.loads((reports / "verdict.json").read_bytes())
    document["checks"] = document["checks"][:-1]
    (reports / "verdict.json").write_text(json.dumps(document), encoding="utf-8")
    forged = seal(reports, load_signer(str(private)), clock=SystemClock())
    one = look(forged, public)
    assert {"evidence-signature", "evidence-check"} <= codes(one)
    assert "DR-08" in text(one)
    assert "evidence-check" in codes(look(forged, other))  # even its own key can't make it complete


def test_a_statement_of_strange_shape_is_a_finding_and_no_crash(bundle: Path, public: Path) -> None:
    for name in ENVELOPES:
        envelope = (bundle / name).read_bytes()
        good = payload_of(bundle / name)
        for strange in (
            good | {"subject": "x"},
            good | {"subject": [1, {"name": 3, "digest": "x"}]},
            good | {"predicate": []},
            good | {"predicate": {"checks": [1], "required": 5, "validUntil": {}}},
        ):
            write_payload(bundle / name, strange)
            assert look(bundle, public).result is Verdict.FAIL
        for raw in (
            b"",
            b"{}",
            b"[]",
            b"[" * 100_000,
            b'{"payload": "!", "payloadType": 1, "signatures": [{}]}',
        ):
            (bundle / name).write_bytes(raw)
            assert look(bundle, public).result is Verdict.FAIL
        (bundle / name).write_bytes(envelope)


def test_an_envelope_with_another_payload_type_is_not_the_one_that_was_signed(
    bundle: Path, public: Path
) -> None:
    path = bundle / RUN_ENVELOPE
    path.write_text(path.read_text(encoding="utf-8").replace("vnd.in-toto+json", "json"), encoding="utf-8")
    assert "evidence-signature" in codes(look(bundle, public))


def test_without_a_pinned_key_nothing_is_proven_but_alterations_are_found(bundle: Path) -> None:
    assert look(bundle, None).result is Verdict.NOT_PROVEN
    assert codes(look(bundle, None)) == {"evidence-key"}
    (bundle / "summary.md").write_text("all is well", encoding="utf-8")
    assert "summary.md was altered" in text(look(bundle, None))


def test_evidence_and_its_waivers_expire(bundle: Path, public: Path) -> None:
    assert look(bundle, public, date(2026, 11, 23)).result is Verdict.PASS
    later = look(bundle, public, date(2027, 3, 1))
    assert later.result is Verdict.NOT_PROVEN
    assert codes(later) == {"evidence-expired", "evidence-waiver-expired"}


# --- the history and the order of bundles -------------------------------------------------------------------


def lines_of(folder: Path) -> list[bytes]:
    """Return the lines of a history."""
    return (folder / "history.jsonl").read_bytes().splitlines()


def three(folder: Path) -> tuple[Path, Path]:
    """Seal three runs in one reports directory; return it and the public key."""
    private, public = keys(folder)
    for number in range(3):
        sealed(folder / "reports", private, run_id=f"run{number}", minute=5 + number)
    return folder / "reports", public


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "changed": lambda lines: [lines[0].replace(b'"PASS"', b'"FAIL"', 1), *lines[1:]],
    "dropped first": lambda lines: lines[1:],
    "dropped middle": lambda lines: [lines[0], lines[2]],
    "dropped last": lambda lines: lines[:2],
    "re-ordered": lambda lines: [lines[1], lines[0], lines[2]],
    "doubled": lambda lines: [lines[0], lines[0], *lines[1:]],
    "junk": lambda lines: [lines[0], b"{half", *lines[1:]],
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_altered_history_is_found_and_the_line_is_named(tmp_path: Path, change: str) -> None:
    reports, public = three(tmp_path)
    assert {one.result for one in verify(reports, key=load_public(public), today=DAY)} == {Verdict.PASS}
    (reports / "history.jsonl").write_bytes(b"\n".join(CHANGES[change](lines_of(reports))) + b"\n")
    newest = verify(reports, key=load_public(public), today=DAY)[-1]
    assert codes(newest) == {"evidence-history"}
    assert re.search(r"line \d|has 2 lines, 3 were signed", text(newest))


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "dropped last"])
def test_the_chain_alone_shows_most_of_it(tmp_path: Path, change: str) -> None:
    reports, _ = three(tmp_path)
    assert history.chain_problems(lines_of(reports)) == []
    assert history.chain_problems(CHANGES[change](lines_of(reports)))


def test_lines_from_before_the_chain_may_only_stand_at_the_beginning() -> None:
    old = b'{"run_id": "old"}'
    new = json.dumps({"run_id": "new", "previous": sha256(old).hexdigest()}).encode()
    assert history.chain_problems([old, new]) == []
    assert history.chain_problems([old, new, old]) == [
        "line 3 names no predecessor, although earlier lines do"
    ]


def test_a_line_after_one_that_a_killed_run_left_is_still_chained(tmp_path: Path) -> None:
    run_into(tmp_path, "run1")
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'{"half')
    run_into(tmp_path, "run2")
    assert len(lines_of(tmp_path)) == 3
    assert history.chain_problems(lines_of(tmp_path)) == []


def test_a_bundle_that_is_dropped_renamed_or_replaced_is_found(tmp_path: Path) -> None:
    reports, public = three(tmp_path)
    first, middle, last = sorted((reports / "evidence").iterdir())
    kept = Path(shutil.copytree(middle, tmp_path / "kept"))
    shutil.rmtree(middle)
    found = verify(reports, key=load_public(public), today=DAY)
    assert f"The bundle before it, {middle.name}, was dropped" in text(found[-1])
    shutil.copytree(kept, middle)
    assert {one.result for one in verify(reports, key=load_public(public), today=DAY)} == {Verdict.PASS}
    middle.rename(middle.with_name("20270101T000000Z-run1"))
    assert "evidence-order" in set().union(
        *(codes(one) for one in verify(reports, key=load_public(public), today=DAY))
    )
    shutil.rmtree(first)
    oldest = verify(last, key=load_public(public), today=DAY)[0]
    assert oldest.result is Verdict.PASS  # a single bundle stands by itself


# --- readers without this package ---------------------------------------------------------------------------


def documented_steps() -> str:
    """Return the shell commands of docs/evidence.md."""
    page = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    return str(block)


def by_hand(bundle: Path, public: Path) -> subprocess.CompletedProcess[str]:
    """Run the documented steps with nothing but the system's tools."""
    environment = {"PATH": "/usr/bin:/bin", "KEY": str(public), "LC_ALL": "C"}
    return subprocess.run(
        ["/bin/sh", "-c", documented_steps()],
        cwd=bundle,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_openssl_and_sha256sum_alone_verify_a_bundle(bundle: Path, public: Path) -> None:
    done = by_hand(bundle, public)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Signature Verified Successfully") == 2
    assert '"verdict": "PASS"' in done.stdout


def test_openssl_and_sha256sum_alone_find_what_was_altered(
    original: tuple[Path, Path, Path], public: Path, tmp_path: Path
) -> None:
    def added(copy: Path) -> None:
        (copy / "more.txt").write_text("x", encoding="utf-8")

    def altered(copy: Path) -> None:
        (copy / "verdict.json").write_text("{}", encoding="utf-8")

    def resummed(copy: Path) -> None:
        altered(copy)
        sums = "".join(
            f"{value}  {name}\n" for name, value in sorted(digests(copy).items()) if name != SUMS_NAME
        )
        (copy / SUMS_NAME).write_text(sums, encoding="utf-8")

    def restated(copy: Path) -> None:
        statement = payload_of(copy / RUN_ENVELOPE)
        statement["predicate"]["verdict"] = "FAIL"
        write_payload(copy / RUN_ENVELOPE, statement)

    for number, change in enumerate((added, altered, resummed, restated)):
        copy = Path(shutil.copytree(original[0], tmp_path / str(number)))
        change(copy)
        assert by_hand(copy, public).returncode != 0, change.__name__
    (tmp_path / "mallory").mkdir()
    assert by_hand(original[0], keys(tmp_path / "mallory")[1]).returncode != 0


# --- keys ---------------------------------------------------------------------------------------------------


def test_a_key_that_others_may_read_or_that_is_no_key_is_refused(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    private.chmod(0o640)
    with pytest.raises(SmosError, match="can be read by other users"):
        load_signer(str(private))
    (tmp_path / "no.pem").write_text("x", encoding="utf-8")
    (tmp_path / "no.pem").chmod(0o600)
    with pytest.raises(SmosError, match="no private key in PEM"):
        load_signer(str(tmp_path / "no.pem"))
    with pytest.raises(SmosError, match="no public key in PEM"):
        load_public(tmp_path / "no.pem")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SmosError, match="can't be read"):
        load_signer(str(tmp_path / "pipe"))
    assert load_public(public).keyid
