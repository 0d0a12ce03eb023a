"""Attacks on signed evidence that keep a signature valid: each is found and named, and none hangs the verifier."""

import base64
import hashlib
import json
import os
import shutil
from datetime import date
from pathlib import Path

import pytest
from securesystemslib.dsse import Envelope

from smos.clock import SystemClock
from smos.errors import SmosError
from smos.evidence.bundle import ENVELOPES, RUN_ENVELOPE, SIGNING_NAME, SUMS_NAME, bundles, digests, seal
from smos.evidence.files import write_json
from smos.evidence.signers import load_public, load_signer
from smos.evidence.statement import PAYLOAD_TYPE, encode
from smos.evidence.verify import verify
from smos.verdict import Verdict
from tests._evidence_kit import DAY, keys, run_into, sealed
from tests.test_evidence_bundle import by_hand, codes, look, payload_of, text, three

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Return a bundle, the public key and the private key."""
    folder = tmp_path_factory.mktemp("attacks")
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


@pytest.fixture
def private(original: tuple[Path, Path, Path]) -> Path:
    """Return the private key."""
    return original[2]


def resign(path: Path, statement: dict, private: Path, kind: str = PAYLOAD_TYPE) -> None:
    """Sign another statement with the real key: what a signer could be led to do."""
    envelope = Envelope(encode(statement), kind, {})
    envelope.sign(load_signer(str(private)))
    write_json(path, envelope.to_dict())


# --- envelopes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_signature_by_a_second_key_beside_the_first_is_found(
    bundle: Path, public: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "mallory").mkdir()
    other, _ = keys(tmp_path / "mallory")
    envelope = Envelope.from_dict(json.loads((bundle / name).read_bytes()))
    envelope.sign(load_signer(str(other)))
    write_json(bundle / name, envelope.to_dict())
    one = look(bundle, public)
    assert "evidence-signature" in codes(one)
    assert f"{name} holds 2 signatures" in text(one)


@pytest.mark.parametrize("name", ENVELOPES)
def test_doubled_and_added_keys_in_an_envelope_are_found(bundle: Path, public: Path, name: str) -> None:
    raw = (bundle / name).read_text(encoding="utf-8")
    fake = payload_of(bundle / name)
    fake["predicate"]["verdict"] = "PASS, really"
    evil = base64.b64encode(encode(fake)).decode()
    for changed in (
        raw.replace("{\n", '{\n "payload": "' + evil + '",\n', 1),  # readers that take the first see another
        raw.replace("{\n", '{\n "verdict": "PASS",\n', 1),
        raw.replace('"sig":', '"cert": "x",\n   "sig":'),
        raw.replace("\n", " "),
        raw + "\n",
    ):
        assert changed != raw
        (bundle / name).write_text(changed, encoding="utf-8")
        one = look(bundle, public)
        assert one.result is Verdict.FAIL, changed[:80]
        assert name in text(one)


def test_a_key_id_that_is_not_the_keys_is_found(bundle: Path, public: Path, tmp_path: Path) -> None:
    (tmp_path / "mallory").mkdir()
    other, _ = keys(tmp_path / "mallory")
    for name in ENVELOPES:  # mallory's signature under the name of the real key
        genuine = json.loads((bundle / name).read_bytes())["signatures"][0]["keyid"]
        envelope = Envelope.from_dict(json.loads((bundle / name).read_bytes()))
        envelope.signatures.clear()
        envelope.sign(load_signer(str(other)))
        document = envelope.to_dict()
        document["signatures"][0]["keyid"] = genuine
        write_json(bundle / name, document)
    assert codes(look(bundle, public)) == {"evidence-signature"}


def test_another_payload_type_is_refused_even_where_the_key_signed_it(
    bundle: Path, public: Path, private: Path
) -> None:
    resign(bundle / RUN_ENVELOPE, payload_of(bundle / RUN_ENVELOPE), private, "application/json")
    assert "evidence-signature" in codes(look(bundle, public))


@pytest.mark.parametrize("field", ["_type", "predicateType"])
def test_a_swapped_type_is_refused_even_where_the_key_signed_it(
    bundle: Path, public: Path, private: Path, field: str
) -> None:
    statement = payload_of(bundle / RUN_ENVELOPE)
    resign(bundle / RUN_ENVELOPE, statement | {field: "https://in-toto.io/Statement/v0.1"}, private)
    one = look(bundle, public)
    assert codes(one) == {"evidence-statement"}
    assert RUN_ENVELOPE in text(one)


def test_swapped_statements_are_found(bundle: Path, public: Path) -> None:
    one, other = (bundle / name for name in ENVELOPES)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert look(bundle, public).result is Verdict.FAIL


def test_doubled_odd_and_extra_subjects_are_refused_even_where_the_key_signed_them(
    bundle: Path, public: Path, private: Path
) -> None:
    name = "test-result.dsse.json"
    statement = payload_of(bundle / name)
    digest = {"sha256": "ab" * 32}
    for extra, said in (
        ({"name": "verdict.json", "digest": digest}, "verdict.json twice"),
        ({"name": "VERDICT.json", "digest": digest}, "VERDICT.json and verdict.json"),
        ({"name": "../verdict.json", "digest": digest}, "../verdict.json"),
        ({"name": "/etc/passwd", "digest": digest}, "/etc/passwd"),
        ({"name": "more.json", "digest": digest}, "more.json"),
        ({"name": "backup:other.dump", "digest": digest}, "backup:other.dump"),
    ):
        changed = json.loads(json.dumps(statement))
        changed["subject"].insert(0, extra)
        resign(bundle / name, changed, private)
        one = look(bundle, public)
        assert one.result is Verdict.FAIL, extra
        assert said in text(one), text(one)


def test_a_statement_that_contradicts_its_own_files_is_found_though_the_key_signed_it(
    bundle: Path, public: Path, private: Path
) -> None:
    for name, change in (
        (RUN_ENVELOPE, {"verdict": "FAIL"}),
        (RUN_ENVELOPE, {"scope": "self-test"}),
        (RUN_ENVELOPE, {"target": "another"}),
        ("test-result.dsse.json", {"result": "PASSED", "warnedTests": []}),
    ):
        before = (bundle / name).read_bytes()
        statement = payload_of(bundle / name)
        statement["predicate"] |= change
        resign(bundle / name, statement, private)
        one = look(bundle, public)
        assert "evidence-field" in codes(one), change
        assert next(iter(change)) in text(one)
        (bundle / name).write_bytes(before)
    assert look(bundle, public).result is Verdict.PASS


def test_an_unsigned_bundle_never_verifies(bundle: Path, public: Path) -> None:
    for name in ENVELOPES:
        document = json.loads((bundle / name).read_bytes())
        write_json(bundle / name, document | {"signatures": []})
    assert look(bundle, public).result is Verdict.FAIL
    assert look(bundle, None).result is not Verdict.PASS


# --- files --------------------------------------------------------------------------------------------------


def test_pipes_links_and_folders_in_the_place_of_files_are_named_and_block_nobody(
    original: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    names = [*digests(original[0]), *ENVELOPES]
    for number, name in enumerate(names):
        for kind in ("pipe", "link", "folder"):
            reports = tmp_path / f"{number}{kind}"
            copy = Path(shutil.copytree(original[0], reports / "evidence" / original[0].name))
            path = copy / name
            path.rename(reports / "kept")
            if kind == "pipe":
                os.mkfifo(path)
            elif kind == "link":
                path.symlink_to(reports / "kept")
            else:
                path.mkdir()
            (one,) = verify(reports / "evidence", key=load_public(original[1]), today=DAY)
            assert one.result is Verdict.FAIL
            assert name in text(one), (name, kind, text(one))
    # … and while the signature is wrong as well, so that fields are compared with the files
    copy = Path(shutil.copytree(original[0], tmp_path / "both"))
    (copy / "verdict.json").unlink()
    os.mkfifo(copy / "verdict.json")
    document = json.loads((copy / RUN_ENVELOPE).read_bytes())
    document["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()
    write_json(copy / RUN_ENVELOPE, document)
    assert look(copy, original[1]).result is Verdict.FAIL


def test_an_added_empty_folder_and_a_strange_name_are_named(bundle: Path, public: Path) -> None:
    (bundle / "empty" / "inner").mkdir(parents=True)
    assert "empty" in text(look(bundle, public))
    assert look(bundle, public).result is Verdict.FAIL
    shutil.rmtree(bundle / "empty")
    Path(os.fsdecode(bytes(bundle) + b"/\xff\x1b[2K.json")).write_bytes(b"")
    assert look(bundle, public).result is Verdict.FAIL


def test_files_that_are_far_too_large_are_refused_unread(bundle: Path, public: Path) -> None:
    for name in ("history.jsonl", "verdict.json", SUMS_NAME, SIGNING_NAME):
        kept = (bundle / name).read_bytes()
        with (bundle / name).open("r+b") as file:
            file.truncate(2**40)  # sparse: takes no room, would take hours to read
        one = look(bundle, public)
        assert one.result is Verdict.FAIL
        assert f"{name} is too large" in text(one)
        (bundle / name).unlink()
        (bundle / name).write_bytes(kept)
    assert look(bundle, public).result is Verdict.PASS


def test_an_empty_folder_holds_no_evidence(tmp_path: Path, public: Path) -> None:
    with pytest.raises(SmosError, match="no signed evidence"):
        verify(tmp_path, key=load_public(public), today=DAY)
    (tmp_path / "evidence" / "x").mkdir(parents=True)
    (one,) = verify(tmp_path, key=load_public(public), today=DAY)
    assert one.result is Verdict.FAIL


# --- other bundles ------------------------------------------------------------------------------------------


def every(reports: Path, public: Path) -> tuple[set[str], str]:
    """Return all codes that count, and all messages."""
    found = verify(reports, key=load_public(public), today=DAY)
    return set().union(*map(codes, found)), "\n".join(map(text, found))


@pytest.mark.parametrize("place", [1, 2])
def test_an_older_valid_bundle_in_the_place_of_a_newer_one_is_found(tmp_path: Path, place: int) -> None:
    reports, public = three(tmp_path)
    found = bundles(reports / "evidence")
    shutil.rmtree(found[place])
    shutil.copytree(found[0], found[place])
    said, messages = every(reports, public)
    assert "evidence-order" in said
    assert found[place].name in messages


def test_a_renamed_bundle_is_found_also_alone_among_bundles(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    made = sealed(tmp_path / "reports", private)
    made.rename(made.with_name("20270101T000000Z-later"))
    said, messages = every(tmp_path / "reports", public)
    assert said == {"evidence-order"}
    assert "run1" in messages


def test_a_clock_that_was_set_back_is_told_and_is_no_alteration(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    reports = tmp_path / "reports"
    for minute, run_id in ((30, "ahead"), (5, "back"), (6, "after")):
        sealed(reports, private, run_id=run_id, minute=minute)
    said, messages = every(reports, public)
    assert said == {"evidence-clock"}
    assert "back" in messages
    verdicts = {one.run_id: one.result for one in verify(reports, key=load_public(public), today=DAY)}
    assert verdicts == {"ahead": Verdict.PASS, "back": Verdict.NOT_PROVEN, "after": Verdict.PASS}


def test_evidence_of_a_day_that_has_not_come_is_not_proven(bundle: Path, public: Path) -> None:
    one = look(bundle, public, date(2026, 11, 1))
    assert (one.result, codes(one)) == (Verdict.NOT_PROVEN, {"evidence-clock"})


def test_evidence_of_another_scope_or_target_does_not_pass_for_what_was_asked(
    bundle: Path, public: Path, tmp_path: Path
) -> None:
    key = load_public(public)
    name = str(payload_of(bundle / RUN_ENVELOPE)["predicate"]["target"])
    assert verify(bundle, key=key, today=DAY, about=name, scope="production")[0].result is Verdict.PASS
    (other,) = verify(bundle, key=key, today=DAY, about="another")
    assert (other.result, codes(other)) == (Verdict.NOT_PROVEN, {"evidence-target"})
    private, mine = keys(tmp_path)
    made = sealed(tmp_path / "self", private, scope="self-test")
    (one,) = verify(made, key=load_public(mine), today=DAY, scope="production")
    assert (one.result, codes(one)) == (Verdict.NOT_PROVEN, {"evidence-scope"})
    (one,) = verify(made, key=load_public(mine), today=DAY)
    assert "says nothing about production" in text(one)


def test_altered_reports_beside_a_sound_bundle_are_found(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    reports = tmp_path / "reports"
    sealed(reports, private)
    assert every(reports, public)[0] == set()
    for name in (
        "verdict.json",
        "run.json",
        "rto.json",
        "junit.xml",
        "findings.sarif",
        "summary.md",
        "evidence.html",
    ):
        kept = (reports / name).read_bytes()
        (reports / name).write_bytes(kept.replace(b"DR-0", b"DR-1", 1).replace(b"run1", b"run1 ", 0) + b" ")
        said, messages = every(reports, public)
        assert said == {"evidence-file"}, name
        assert f"reports/{name}" in messages
        (reports / name).write_bytes(kept)
    run_into(reports, "run2", minute=9)  # a later run that nobody signed
    said, messages = every(reports, public)
    assert said == {"evidence-unsigned"}
    assert "run2" in messages


def test_a_page_in_the_other_language_and_a_matrix_below_the_summary_are_no_alteration(
    tmp_path: Path,
) -> None:
    from smos.evidence.page import rewrite_page

    private, public = keys(tmp_path)
    reports = tmp_path / "reports"
    sealed(reports, private)
    rewrite_page(reports, "es")
    with (reports / "summary.md").open("a", encoding="utf-8") as file:
        file.write("\n<!-- detection matrix -->\n## 1 of 1\n<!-- end of the detection matrix -->\n")
    said, messages = every(reports, public)
    assert said == set()
    assert "summary.md" in messages  # told as a note


# --- what is signed -----------------------------------------------------------------------------------------


def test_reports_that_contradict_each_other_are_never_signed(tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    signer = load_signer(str(private))
    for number, name in enumerate(
        ("verdict.json", "history.jsonl", "junit.xml", "findings.sarif", "rto.json", "summary.md")
    ):
        reports = run_into(tmp_path / str(number), verdicts={"DR-03": Verdict.FAIL})
        raw = (reports / name).read_text(encoding="utf-8")
        was, now = ('"run_id": "run1"', '"run_id": "run0"') if name == "rto.json" else ('"FAIL"', '"PASS"')
        changed = raw.replace(was, now).replace("<failure", "<skipped").replace("# ❌ FAIL: ", "# ✅ PASS: ")
        changed = changed.replace('level": "error"', 'level": "note"')
        assert changed != raw, name
        (reports / name).write_text(changed, encoding="utf-8")
        with pytest.raises(SmosError, match=name.replace(".", r"\.")):
            seal(reports, signer, clock=SystemClock())
        assert not bundles(reports / "evidence")


def test_only_allures_own_results_of_this_run_are_sealed(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    reports = run_into(tmp_path / "reports")
    results = reports / "allure-results"
    (results / "notes of mine.txt").write_text("my password", encoding="utf-8")
    (results / "a\nb-result.json").write_text("{}", encoding="utf-8")
    made = seal(reports, load_signer(str(private)), clock=SystemClock())
    assert {path.name for path in (made / "allure-results").iterdir()} == {
        "run1-result.json", "environment.properties", "categories.json", "executor.json"
    }  # fmt: skip
    assert by_hand(made, public).returncode == 0
    text = (results / "environment.properties").read_text(encoding="utf-8")
    (results / "environment.properties").write_text(text.replace("run1", "negative1"), encoding="utf-8")
    (reports / "evidence" / made.name).rename(tmp_path / "away")
    again = seal(reports, load_signer(str(private)), clock=SystemClock())
    assert not (again / "allure-results").exists()  # a later run without checks has left its own there


def test_a_key_in_the_reports_signs_nothing(tmp_path: Path) -> None:
    from smos.evidence.signers import require_apart

    reports = run_into(tmp_path / "real")
    private, _ = keys(reports)
    (tmp_path / "link").symlink_to(reports)
    for place in (reports, tmp_path / "link"):
        with pytest.raises(SmosError, match="lies in"):
            require_apart(str(private), place)
        with pytest.raises(SmosError, match="lies in"):
            require_apart(str(tmp_path / "link" / private.name), place)
    require_apart("hv:evidence", reports)


# --- by hand ------------------------------------------------------------------------------------------------


def test_by_hand_a_backup_can_not_stand_in_for_the_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can write backups could put a list of forged files among them: its digest would be signed."""
    from tests import _evidence_kit as kit

    private, public = keys(tmp_path)
    draft = sealed(tmp_path / "draft", private)
    forged = Path(shutil.copytree(draft, tmp_path / "forged"))
    (forged / "verdict.json").write_text('{"verdict": "PASS"}', encoding="utf-8")
    sums = "".join(
        f"{value}  {name}\n" for name, value in sorted(digests(forged).items()) if name != SUMS_NAME
    )
    evil = hashlib.sha256(sums.encode()).hexdigest()
    backup = kit.SETS[0].artifacts[0]
    from dataclasses import replace

    planted = replace(backup, files=(replace(backup.files[0], sha256=evil),))
    monkeypatch.setattr(kit, "SETS", (replace(kit.SETS[0], artifacts=(planted,)),))
    made = sealed(tmp_path / "real", private)
    for name in ENVELOPES:
        shutil.copyfile(made / name, forged / name)
    (forged / SUMS_NAME).write_text(sums, encoding="utf-8")
    assert by_hand(forged, public).returncode != 0
    assert look(forged, public).result is Verdict.FAIL


@pytest.mark.parametrize("kind", ["link", "pipe", "stamp", "added link"])
def test_by_hand_links_pipes_and_files_named_like_stamps_are_found(
    bundle: Path, public: Path, kind: str, tmp_path: Path
) -> None:
    if kind == "link":
        (bundle / "summary.md").rename(tmp_path / "kept")
        (bundle / "summary.md").symlink_to(tmp_path / "kept")
    elif kind == "pipe":
        os.mkfifo(bundle / "more")
    elif kind == "stamp":
        (bundle / "allure-results" / "verdict.tsr").write_text("x", encoding="utf-8")
    else:
        (bundle / "verdict").symlink_to("/etc/passwd")
    assert by_hand(bundle, public).returncode != 0
