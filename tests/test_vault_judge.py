"""The judge of DR-06 passes on positive evidence only; snapshots are inspected without a server."""

import gzip
import hashlib
import io
import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from smos.checks.dr.vault import judge_vault
from smos.checks.dr.vault_problems import PROBLEMS
from smos.target import VaultRole, VaultTarget
from smos.vault.archive import SnapshotFacts, inspect_snapshot
from smos.vault.facts import LoginFacts, VaultFacts
from smos.vault.health import HealthState
from smos.vault.shamir import strangers
from smos.verdict import Problem, Verdict

TARGET = VaultTarget(
    roles=(VaultRole(name="ci", allowed="smarteros/data/app/x", denied="smarteros/data/mcp/y"),)
)
LOGIN = LoginFacts(
    role="ci",
    logged_in=True,
    allowed="smarteros/data/app/x",
    allowed_status=200,
    denied="smarteros/data/mcp/y",
    denied_status=403,
    detail="",
)
GOOD = VaultFacts(
    canary_present=True,
    restored=True,
    sealed_below_threshold=True,
    unsealed=True,
    shares=5,
    threshold=3,
    escrow_shares=5,
    escrow_threshold=3,
    wrong_shares=0,
    cluster_id="c",
    expected_cluster_id="c",
    version="2.7.2",
    expected_version="2.7.2",
    logins=(LOGIN,),
    compared=True,
    secrets_expected=3,
    canary_decrypts=True,
    escrow_canary_decrypts=True,
    isolation="network-namespace",
)


def found(facts: VaultFacts | None, target: VaultTarget = TARGET) -> dict[str, Verdict]:
    return {each.code: each.verdict for each in judge_vault(target, facts).findings}


def test_good_facts_pass() -> None:
    assert found(GOOD) == {}


@pytest.mark.parametrize(
    ("change", "code", "verdict"),
    [
        ({"sealed_below_threshold": False}, "vault-unsealed-below-threshold", Verdict.FAIL),
        ({"sealed_below_threshold": None}, "vault-unsealed-below-threshold", Verdict.FAIL),
        ({"threshold": 1}, "vault-threshold-differs", Verdict.FAIL),
        ({"wrong_shares": 1}, "vault-share-wrong", Verdict.FAIL),
        ({"cluster_id": "d"}, "vault-wrong-cluster", Verdict.FAIL),
        ({"logins": ()}, "vault-login-not-tried", Verdict.NOT_PROVEN),
        ({"logins": (replace(LOGIN, logged_in=False),)}, "vault-login-failed", Verdict.FAIL),
        ({"logins": (replace(LOGIN, allowed_status=403),)}, "vault-allowed-read-refused", Verdict.FAIL),
        ({"logins": (replace(LOGIN, allowed_status=404),)}, "vault-secret-missing", Verdict.FAIL),
        ({"logins": (replace(LOGIN, allowed_status=None),)}, "vault-unreachable", Verdict.NOT_PROVEN),
        ({"logins": (replace(LOGIN, denied_status=200),)}, "vault-denied-read-granted", Verdict.FAIL),
        ({"logins": (replace(LOGIN, denied_status=404),)}, "vault-denied-read-granted", Verdict.FAIL),
        ({"logins": (replace(LOGIN, denied_status=500),)}, "vault-unreachable", Verdict.NOT_PROVEN),
        ({"canary_present": False}, "vault-canary-missing", Verdict.NOT_PROVEN),
        ({"compared": False}, "vault-not-compared", Verdict.NOT_PROVEN),
        ({"policies_missing": ("ci",)}, "vault-policies-missing", Verdict.FAIL),
        ({"policies_changed": ("ci",)}, "vault-policies-changed", Verdict.FAIL),
        ({"auth_missing": ("approle/",)}, "vault-auth-missing", Verdict.FAIL),
        ({"auth_changed": ("approle/ci",)}, "vault-auth-changed", Verdict.FAIL),
        ({"mounts_missing": ("smarteros/",)}, "vault-mounts-missing", Verdict.FAIL),
        ({"audit_missing": ("file/",)}, "vault-audit-missing", Verdict.FAIL),
        ({"secrets_missing": 1}, "vault-secret-missing", Verdict.FAIL),
        ({"canary_decrypts": False}, "vault-canary-undecryptable", Verdict.FAIL),
        ({"canary_decrypts": None}, "vault-canary-not-tried", Verdict.NOT_PROVEN),
        ({"escrow_canary_decrypts": False}, "vault-canary-undecryptable", Verdict.FAIL),
        ({"unsealed": False}, "vault-unreachable", Verdict.NOT_PROVEN),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_fact_that_is_not_good_has_its_finding(
    change: dict[str, Any], code: str, verdict: Verdict
) -> None:
    assert found(replace(GOOD, **change)) == {code: verdict}


@pytest.mark.parametrize("code", [*PROBLEMS, "snapshot-truncated", "snapshot-altered", "never-heard-of"])
def test_no_problem_of_the_record_is_green(code: str) -> None:
    stopped = replace(GOOD, unsealed=False, problems=(Problem(code, "seen"),))
    judgement = judge_vault(TARGET, stopped)
    assert judgement.verdict in {Verdict.FAIL, Verdict.NOT_PROVEN}
    assert all(finding.remedy for finding in judgement.findings)


def test_nothing_at_all_is_a_missing_snapshot() -> None:
    assert found(None) == {"vault-snapshot-missing": Verdict.FAIL}


def test_a_target_without_roles_proves_no_login() -> None:
    assert found(GOOD, VaultTarget()) == {"vault-no-roles": Verdict.NOT_PROVEN}


def test_another_version_that_could_not_restore_is_a_gap_and_not_a_fault() -> None:
    problem = Problem("not-active", "unsealed, but not active")
    stopped = replace(GOOD, unsealed=False, expected_version="2.9.0", problems=(problem,))
    assert found(stopped) == {"vault-version-gap": Verdict.NOT_PROVEN}
    assert found(replace(GOOD, expected_version="2.9.0")) == {"vault-version-differs": Verdict.PASS}


def test_a_weak_isolation_is_told() -> None:
    assert found(replace(GOOD, isolation="configuration")) == {"vault-isolation": Verdict.PASS}


# The snapshot's file.


def entry(key: str, value: bytes) -> bytes:
    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2]) + varint(len(data)) + data

    def varint(number: int) -> bytes:
        out = b""
        while number > 0x7F:
            out += bytes([number & 0x7F | 0x80])
            number >>= 7
        return out + bytes([number])

    body = field(1, key.encode()) + field(2, value)
    return varint(len(body)) + body


STATE = (
    entry("core/keyring", b"k" * 300)
    + entry(
        "core/seal-config", json.dumps({"type": "shamir", "secret_shares": 5, "secret_threshold": 3}).encode()
    )
    + entry("logical/x", Random(1).randbytes(40_000))  # noqa: S311
)
META = json.dumps({"Index": 7, "Term": 2}).encode()


def archive(path: Path, *, state: bytes = STATE, **members: bytes) -> Path:
    sums = f"{hashlib.sha256(META).hexdigest()}  meta.json\n{hashlib.sha256(STATE).hexdigest()}  state.bin\n"
    content = {"meta.json": META, "state.bin": state, "SHA256SUMS": sums.encode()} | members
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    path.write_bytes(gzip.compress(plain.getvalue(), 1))
    return path


def problems(facts: SnapshotFacts) -> list[str]:
    return [problem.code for problem in facts.problems]


def test_a_whole_snapshot_tells_its_seal(tmp_path: Path) -> None:
    path = archive(tmp_path / "raft.snap")
    facts = inspect_snapshot(path)
    assert facts.whole
    assert (facts.entries, facts.keyring, facts.shares, facts.threshold) == (3, True, 5, 3)
    assert (facts.raft_index, facts.raft_term, facts.state_bytes) == (7, 2, len(STATE))
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts.stored_bytes == path.stat().st_size


def test_f60_a_snapshot_cut_anywhere_is_found(tmp_path: Path) -> None:
    whole = archive(tmp_path / "raft.snap").read_bytes()
    for length in [
        0,
        1,
        9,
        10,
        11,
        len(whole) // 3,
        len(whole) - 9,
        len(whole) - 8,
        len(whole) - 4,
        len(whole) - 1,
    ]:
        cut = tmp_path / "cut"
        cut.write_bytes(whole[:length])
        assert not inspect_snapshot(cut).whole, f"cut at {length} of {len(whole)}"


def test_f60_a_changed_byte_is_found_wherever_it_is(tmp_path: Path) -> None:
    whole = archive(tmp_path / "raft.snap").read_bytes()
    other = tmp_path / "other"
    for position in range(10, len(whole), max(1, len(whole) // 200)):
        changed = bytearray(whole)
        changed[position] ^= 0x40
        other.write_bytes(bytes(changed))
        facts = inspect_snapshot(other)
        assert facts.sha256 != inspect_snapshot(tmp_path / "raft.snap").sha256
        if facts.whole:  # a byte of the compression that leaves the content as it was
            assert gzip.decompress(bytes(changed)) == gzip.decompress(whole), f"byte {position}"


def test_state_that_is_not_what_the_sums_say_is_altered(tmp_path: Path) -> None:
    assert problems(inspect_snapshot(archive(tmp_path / "s", state=STATE + entry("x", b"y")))) == [
        "snapshot-altered"
    ]


def test_a_member_that_does_not_belong_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "s", **{"../../etc/passwd": b"root"})
    assert problems(inspect_snapshot(path)) == ["snapshot-unexpected"]


def test_a_file_that_is_no_snapshot_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"not a snapshot at all" * 100)
    assert problems(inspect_snapshot(tmp_path / "s")) == ["snapshot-damaged"]
    assert problems(inspect_snapshot(tmp_path / "none")) == ["snapshot-missing"]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "s")
    assert problems(inspect_snapshot(path, limit_bytes=1000)) == ["snapshot-too-large"]


def test_storage_without_a_key_ring_is_no_vault(tmp_path: Path) -> None:
    state = entry("logical/x", b"y")
    sums = f"{hashlib.sha256(META).hexdigest()}  meta.json\n{hashlib.sha256(state).hexdigest()}  state.bin\n"
    path = archive(tmp_path / "s", state=state, SHA256SUMS=sums.encode())
    assert problems(inspect_snapshot(path)) == ["snapshot-empty"]


# Key shares of the key b"0123456789abcdef", 3 of 5, split by polynomials with random coefficients.


def split(secret: bytes, xs: tuple[int, ...]) -> list[str]:
    import base64
    import random

    from smos.vault.shamir import _times

    rng = random.Random(3)  # noqa: S311  (a test's fixed numbers)
    terms = [(rng.randrange(256), rng.randrange(256)) for _ in secret]
    shares = []
    for x in xs:
        values = [s ^ _times(a, x) ^ _times(b, _times(x, x)) for s, (a, b) in zip(secret, terms, strict=True)]
        shares.append(base64.b64encode(bytes([*values, x])).decode())
    return shares


def test_shares_of_one_key_belong_together() -> None:
    shares = split(b"0123456789abcdef", (17, 200, 3, 255, 90))
    assert strangers(shares, 3) == 0
    assert strangers(shares[:3], 3) == 0


def test_a_strange_a_repeated_and_an_unreadable_share_are_counted() -> None:
    shares = split(b"0123456789abcdef", (17, 200, 3, 255, 90))
    strange = split(b"0123456789abcdeX", (31,))[0]
    assert strangers([*shares[:4], strange], 3) == 1
    assert strangers([*shares[:4], shares[0]], 3) == 1
    assert strangers([*shares[:4], "***"], 3) == 1
    assert strangers([shares[0], shares[0], shares[1], shares[2]], 3) == 1


def test_every_finding_is_documented() -> None:
    root = Path(__file__).resolve().parent.parent
    sources = [root / "smos" / "checks" / "dr" / name for name in ("vault.py", "vault_problems.py")]
    codes = {code for path in sources for code in re.findall(r'"(vault-[a-z-]+)"', path.read_text())}
    codes |= {f"vault-{state}" for state in HealthState if state is not HealthState.ACTIVE}
    documented = set(re.findall(r"`(vault-[a-z-]+)`", (root / "docs" / "findings-vault.md").read_text()))
    assert codes == documented
