"""Somebody's own Vault: asked, never changed; what needs more is not proven, and the reason says so."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smos.checks.vault.exercise import exercise
from smos.provision.owner import Owner
from smos.target import VaultTarget
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.live import live_subject
from smos.vault.verify.stand import Stand, stand_up
from smos.verdict import Judgement, Verdict

HARMLESS = (
    "auth/approle/login",
    "sys/capabilities-self",
    "transit/encrypt/",
    "transit/decrypt/",
    "transit/datakey/",
)
"""What a read-only run may post: none of these leaves anything in the storage."""


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-vault-live") as made:
        yield made


@pytest.fixture(scope="module")
def stand(owner: Owner) -> Stand:
    return stand_up(owner, name="live")


def private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def target(stand: Stand, folder: Path, **more: object) -> VaultTarget:
    credentials = {
        name: {"role_id": item.role_id.get_secret_value(), "secret_id": item.secret_id.get_secret_value()}
        for name, item in stand.keys().approles.items()
    }
    return VaultTarget(
        address=stand.server.endpoint.url,
        credentials=private(folder / "credentials.json", json.dumps({"approles": credentials})),
        **more,
    )


def lab(owner: Owner, vault: VaultTarget | None) -> VaultLab:
    return VaultLab(subject=live_subject(vault), owner=lambda: owner)


def codes(judgement: Judgement, verdict: Verdict) -> set[str]:
    return {finding.code for finding in judgement.findings if finding.verdict is verdict}


def entries(stand: Stand) -> list[dict]:
    assert stand.server.audit_path is not None
    return [json.loads(line) for line in stand.server.audit_path.read_text().splitlines()]


def without_scratch(check_id: str, owner: Owner, stand: Stand, folder: Path) -> Judgement:
    """Run a check where nothing may be written, and look that nothing was."""
    before = len(entries(stand))
    judgement = exercise(check_id, lab(owner, target(stand, folder)))
    requests = [entry["request"] for entry in entries(stand)[before:] if entry["type"] == "request"]
    changing = {
        (request["operation"], request["path"])
        for request in requests
        if request["operation"] not in {"read", "list"} and not request["path"].startswith(HARMLESS)
    }
    assert changing == set()
    assert codes(judgement, Verdict.FAIL) == set()
    return judgement


@pytest.mark.parametrize("check_id", [f"VAULT-0{number}" for number in (1, 2, 3, 4, 5, 7)])
def test_without_a_scratch_path_nothing_is_written_and_what_needs_it_is_not_proven(
    check_id: str, owner: Owner, stand: Stand, tmp_path: Path
) -> None:
    judgement = without_scratch(check_id, owner, stand, tmp_path)
    assert judgement.verdict is (Verdict.PASS if check_id == "VAULT-04" else Verdict.NOT_PROVEN)


@pytest.mark.parametrize("check_id", ["VAULT-01", "VAULT-02", "VAULT-03", "VAULT-04", "VAULT-05", "VAULT-07"])
def test_with_a_token_and_a_scratch_path_all_is_proven_and_nothing_stays(
    check_id: str, owner: Owner, stand: Stand, tmp_path: Path
) -> None:
    assert stand.subject.operator_token is not None
    token = private(tmp_path / "token", stand.subject.operator_token.get_secret_value() + "\n")
    judgement = exercise(
        check_id, lab(owner, target(stand, tmp_path, token_file=token, scratch_path="smos-scratch"))
    )
    assert judgement.verdict is Verdict.PASS, judgement.findings
    with stand.subject.operator() as client:
        mounts = client.sys.list_mounted_secrets_engines()["data"]
        methods = client.sys.list_auth_methods()["data"]
    assert set(methods) == {"approle/", "token/"}
    assert {"smarteros/", "transit/"} <= set(mounts)
    assert [name for name in mounts if name.startswith("smos-scratch")] == []


def test_the_matrix_of_a_live_vault_writes_nothing_and_names_what_was_not_requested(
    owner: Owner, stand: Stand, tmp_path: Path
) -> None:
    judgement = without_scratch("VAULT-06", owner, stand, tmp_path)
    assert judgement.verdict is Verdict.NOT_PROVEN
    assert codes(judgement, Verdict.NOT_PROVEN) == {
        "access-not-requested",
        "access-ways-unknown",  # the role backup may not list roles of tokens
    }
    assert judgement.facts["cells"] == 2 * judgement.facts["requests"]


@pytest.mark.parametrize(
    ("vault", "code"),
    [
        (None, "vault-no-address"),
        (VaultTarget(), "vault-no-address"),
        (VaultTarget(address="http://vault.example"), "vault-no-tls"),
        (VaultTarget(address="http://localhost.example:8200"), "vault-no-tls"),
        (
            VaultTarget(address="https://vault.example", token_file=Path("/nowhere")),
            "vault-credentials-unreadable",
        ),
    ],
)
def test_a_target_that_names_no_vault_rightly_leaves_the_checks_unproven(
    vault: VaultTarget | None, code: str, owner: Owner
) -> None:
    judgement = exercise("VAULT-02", lab(owner, vault))
    assert judgement.verdict is Verdict.NOT_PROVEN
    assert codes(judgement, Verdict.FAIL) == set()
    if code != "vault-no-address":
        with pytest.raises(Exception, match=r"TLS|https|can't be read") as caught:
            live_subject(vault).endpoint.client()
        assert caught.value.code == code


def test_a_token_that_others_may_read_is_refused(owner: Owner, stand: Stand, tmp_path: Path) -> None:
    token = private(tmp_path / "token", "s.not-a-token")
    token.chmod(0o644)
    subject = live_subject(target(stand, tmp_path, token_file=token))
    with pytest.raises(Exception, match="open to others"):
        subject.endpoint.client()


def test_a_vault_that_nobody_answers_at_is_not_proven(owner: Owner, tmp_path: Path) -> None:
    token = private(tmp_path / "token", "s.none")
    vault = VaultTarget(address="http://127.0.0.1:9", token_file=token, scratch_path="smos-scratch")
    for check_id in ("VAULT-01", "VAULT-02", "VAULT-06", "VAULT-07"):
        judgement = exercise(check_id, lab(owner, vault))
        assert judgement.verdict is Verdict.NOT_PROVEN
        assert codes(judgement, Verdict.FAIL) == set()


def test_a_vault_that_takes_requests_and_answers_none_is_left_soon(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smos.checks.vault.exercise.ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        vault = VaultTarget(address=f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        found = [exercise(check_id, lab(owner, vault)) for check_id in ("VAULT-06", "VAULT-09", "VAULT-12")]
        assert time.monotonic() - started < 60
    assert all(codes(item, Verdict.NOT_PROVEN) == {"vault-no-answer"} for item in found)
