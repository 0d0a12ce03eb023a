"""Audit, seal, auto-unseal, metrics, hardening, snapshot: judges pass only what was seen, drivers read what is there."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from smos.checks.vault import not_required
from smos.checks.vault.exercise import AREAS, exercise
from smos.checks.vault.rules import Rule
from smos.faults.registry import cases
from smos.faults.vault.servers import Fronted
from smos.faults.vault.work import working
from smos.provision.certificates import make_certificate
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.stack import stack_text
from smos.provision.owner import Owner
from smos.target import Provision, Settings, Target, VaultTarget
from smos.vault.access import AccessFacts, Verb, load_matrix
from smos.vault.facts import VaultFacts
from smos.vault.model import CLIENT_ERRORS, opened
from smos.vault.verify.access import MatrixFacts
from smos.vault.verify.bare import LIVE, health_status, opened_up
from smos.vault.verify.deployment import deployment
from smos.vault.verify.devices import keeps
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.metrics import samples
from smos.vault.verify.probe import Probe, ProbeFacts
from smos.vault.verify.process import read_process
from smos.vault.verify.snapshot import RecoveredFacts, declared_roles
from smos.vault.verify.stand import Stand, stand_up
from smos.vault.verify.subject import Subject
from smos.vault.verify.template import Templates
from smos.vault.verify.tls import read_tls
from smos.verdict import Judgement, Verdict, fail

ROOT = Path(__file__).resolve().parent.parent
MINE = {check: area for check, area in AREAS.items() if check >= "VAULT-08"}
BY_RULES = [area for area in MINE.values() if area != "snapshot"]
WITHOUT_FAULT = {
    # Nothing outside of the server can drop its answers' entries and keep the requests'.
    "audit-response-missing",
    # A log that shows tokens shows secrets as well: F150 is caught by both.
    "audit-token-in-clear",
}


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-vault-operation") as made:
        yield made


def rules(area: str) -> list[Rule]:
    return list(import_module(f"smos.checks.vault.{area}").RULES)


@pytest.mark.parametrize("area", BY_RULES)
def test_a_check_that_saw_nothing_is_not_proven(area: str) -> None:
    judgement = import_module(f"smos.checks.vault.{area}").judge(ProbeFacts(probes=()))
    assert judgement.verdict is Verdict.NOT_PROVEN
    assert len(judgement.findings) == len(rules(area))


def test_a_recovery_that_came_to_nothing_is_not_proven() -> None:
    facts = RecoveredFacts(target=VaultTarget(), recovery=VaultFacts(), probes=())
    judgement = import_module("smos.checks.vault.snapshot").judge(facts)
    assert judgement.verdict is Verdict.NOT_PROVEN


def test_a_login_that_the_recovered_vault_refuses_fails() -> None:
    probes = (Probe(claim="old-secret", status=403), Probe(claim="later-secret", status=404))
    facts = RecoveredFacts(target=VaultTarget(), recovery=VaultFacts(unsealed=True), probes=probes)
    judgement = import_module("smos.checks.vault.snapshot").judge(facts)
    assert judgement.verdict is Verdict.FAIL
    assert "vault-login-failed" in {finding.code for finding in judgement.findings}


@pytest.mark.parametrize("area", BY_RULES)
def test_every_rule_fails_on_what_refutes_it(area: str) -> None:
    judge = import_module(f"smos.checks.vault.{area}").judge
    for rule in rules(area):
        good = [
            Probe(claim=other.claim, status=min(other.right), holds=True)
            for other in rules(area)
            if other is not rule
        ]
        assert judge(ProbeFacts(probes=(*good, Probe(claim=rule.claim, status=min(rule.right))))).verdict is (
            Verdict.PASS
        ), rule.claim
        bad = Probe(claim=rule.claim, status=min(rule.wrong))
        judgement = judge(ProbeFacts(probes=(*good, bad)))
        assert judgement.verdict is Verdict.FAIL
        assert {item.code for item in judgement.findings if item.verdict is Verdict.FAIL} == {rule.code}


def test_every_code_of_a_rule_is_provoked_by_a_fault() -> None:
    provoked = {code for case in cases("vault") for code in case.expectation.codes}
    codes = {rule.code for area in MINE.values() for rule in rules(area)}
    assert codes - provoked == WITHOUT_FAULT


def test_every_code_is_documented() -> None:
    text = (ROOT / "docs" / "findings-vault-operation.md").read_text(encoding="utf-8")
    codes = {rule.code for area in MINE.values() for rule in rules(area)}
    codes |= {"audit-numbers-in-clear", "hardening-certificate-ends", "hardening-swap", "vault-no-snapshot"}
    assert sorted(code for code in codes if f"`{code}`" not in text) == []


def test_what_vault_never_hashes_is_a_note() -> None:
    facts = ProbeFacts(probes=(), details={"numbers in clear": 3})
    findings = import_module("smos.checks.vault.audit").judge(facts).findings
    assert [item.verdict for item in findings if item.code == "audit-numbers-in-clear"] == [Verdict.PASS]


@pytest.mark.parametrize(("days", "ends"), [(13.9, True), (14.0, False), (-1.0, True)])
def test_a_live_certificate_that_ends_soon_fails(days: float, ends: bool) -> None:
    details = {LIVE: True, "tls": {"address": "x:1", "days_left": days}}
    judgement = import_module("smos.checks.vault.hardening").judge(ProbeFacts(probes=(), details=details))
    assert ("hardening-certificate-ends" in {item.code for item in judgement.findings}) is ends


def test_a_live_vault_says_once_what_can_not_be_shown_of_it() -> None:
    facts = ProbeFacts(probes=(Probe(claim="subject-active", status=200),), details={LIVE: True})
    judgement = import_module("smos.checks.vault.seal").judge(facts)
    assert [item.code for item in judgement.findings] == ["vault-live"]
    assert judgement.verdict is Verdict.NOT_PROVEN
    sealed = replace(facts, probes=(Probe(claim="subject-active", status=503),))
    assert import_module("smos.checks.vault.seal").judge(sealed).verdict is Verdict.FAIL


def test_a_live_vault_is_asked_and_never_broken(owner: Owner) -> None:
    stand = stand_up(owner, name="as-live")
    lab = VaultLab(subject=stand.subject.but(live=True), owner=lambda: owner)
    found = {check: exercise(check, lab) for check in MINE}
    health = health_status(stand.server.endpoint)
    stand.server.kill()
    assert health == 200
    assert found["VAULT-11"].verdict is Verdict.PASS
    for check in ("VAULT-08", "VAULT-13"):
        assert [item.code for item in found[check].findings] == ["vault-live"]
    assert [item.code for item in found["VAULT-09"].findings] == ["vault-live"]
    assert {item.code for item in found["VAULT-10"].findings} == {"autounseal-shamir", "vault-live"}
    # The harness' own configuration bounds no lease; the stack's does.
    assert {item.code for item in found["VAULT-12"].findings} == {"hardening-lease-unbound", "vault-live"}


def test_every_role_with_a_secret_is_tried_on_one_path_of_each_kind() -> None:
    matrix = load_matrix()
    roles = declared_roles(matrix, set(matrix.roles))
    assert {"director-gemini", "ci", "admin", "tenant-cl-0001"} <= {role.name for role in roles}
    for role in roles:
        assert role.allowed.startswith("smarteros/data/")
        assert role.denied.startswith("smarteros/data/")
        assert role.allowed != role.denied


def test_the_kernel_is_asked_about_a_process(tmp_path: Path) -> None:
    here = tmp_path / "7"
    here.mkdir()
    (here / "status").write_text(
        "Name:\tbao\nUid:\t0\t100\t100\t100\nCapEff:\t0000000000004000\nVmSwap:\t  12 kB\n"
    )
    (here / "limits").write_text(
        "Max core file size        0                    unlimited            bytes\n"
    )
    (tmp_path / "meminfo").write_text("SwapTotal:       2048 kB\n")
    facts = read_process(7, tmp_path)
    assert facts.uids == (0, 100, 100)
    assert facts.capabilities == 0x4000
    assert facts.core_bytes == -1
    assert (facts.swapped_bytes, facts.swap_bytes) == (12 * 1024, 2048 * 1024)
    gone = read_process(8, tmp_path)
    assert (gone.uids, gone.core_bytes, gone.swapped_bytes) == (None, None, None)


def test_counters_are_found_under_their_own_names() -> None:
    text = '# TYPE a counter\na 2\n# TYPE s summary\ns{quantile="0.5"} 9\ns_sum 4\ns_count 3\n# TYPE g gauge\ng{x="1"} 1\ng{x="2"} 2\n'
    assert samples(text) == {"a": 2.0, "s_sum": 4.0, "s_count": 3.0, "g": 3.0}
    with pytest.raises(ValueError, match=r"."):  # the parser has a text for each way to be wrong
        samples("{not metrics}")


def test_only_a_server_whose_own_set_up_would_leave_the_same_gets_a_copy(owner: Owner) -> None:
    templates, shipped = Templates(), stack_text()

    def made(text: str | None) -> EmbeddedOpenBao:
        return EmbeddedOpenBao(owner, name="copied", stack=text)

    assert templates.fits(made(shipped))
    assert templates.fits(made(shipped.replace("max_lease_ttl", "default_lease_ttl")))
    assert not templates.fits(made(shipped.replace('"audit.log"', '"discard"')))
    assert not templates.fits(made(shipped.replace('"smarter-vault"', '"another"')))
    assert not templates.fits(made(None))
    assert not templates.fits(Fronted(made(shipped)))  # type: ignore[arg-type]  # what it sends may be altered there


@pytest.mark.parametrize(
    ("check", "parts"),
    [("VAULT-01", ()), ("VAULT-07", ()), ("VAULT-12", ()), ("VAULT-12", ("deployment",))],
)
def test_a_check_that_left_parts_of_its_course_out_is_not_proven(
    owner: Owner, check: str, parts: tuple[str, ...]
) -> None:
    subject = Subject(endpoint=EmbeddedOpenBao(owner, name="never-started").endpoint)
    judgement = exercise(check, VaultLab(subject=subject, owner=lambda: owner, parts=frozenset(parts)))
    assert judgement.verdict is Verdict.NOT_PROVEN
    assert {finding.code for finding in judgement.findings} == {"vault-not-asked", "vault-narrowed"}


@pytest.mark.parametrize(
    "narrowing",
    [
        {"parts": frozenset({"tokens", "api", "tls", "files", "deployment"})},
        {"paths": ("mcp/",)},
        {"subject_alone": True},
    ],
)
def test_a_narrowed_check_is_not_proven_whatever_its_judge_says(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, narrowing: dict[str, Any]
) -> None:
    area = "smos.checks.vault.hardening"
    monkeypatch.setattr("smos.vault.verify.hardening.observe", lambda _lab: ProbeFacts(probes=()))
    monkeypatch.setattr(f"{area}.judge", lambda _facts: Judgement((), {"seen": 1}))
    lab = VaultLab(
        subject=Subject(endpoint=EmbeddedOpenBao(owner, name="never-asked").endpoint), owner=lambda: owner
    )
    assert exercise("VAULT-12", lab).verdict is Verdict.PASS
    narrowed = exercise("VAULT-12", lab.but(**narrowing))
    assert [(item.code, item.verdict) for item in narrowed.findings] == [
        ("vault-narrowed", Verdict.NOT_PROVEN)
    ]
    assert narrowed.facts == {"seen": 1}
    wrong = fail("hardening-cors", "everybody may", "mend it")
    monkeypatch.setattr(f"{area}.judge", lambda _facts: Judgement((wrong,)))
    assert exercise("VAULT-12", lab.but(**narrowing)).verdict is Verdict.FAIL


def test_a_fault_may_narrow_a_check_only_where_a_pristine_vault_is_seen_to_be_quiet(owner: Owner) -> None:
    subject = Subject(endpoint=EmbeddedOpenBao(owner, name="never-run").endpoint)
    stand = Stand(
        server=EmbeddedOpenBao(owner, name="never-up"), escrow=Path("none"), subject=subject, root_token=None
    )
    with working(stand, VaultLab(subject=subject, owner=lambda: owner)) as work:
        work.look_at("deployment")
        assert work.run("VAULT-12").verdict is Verdict.NOT_PROVEN
        work.look_at("deployment", "tls")
        with pytest.raises(ValueError, match="NARROWINGS"):
            work.run("VAULT-12")


def test_every_cell_of_the_matrix_must_have_been_tried() -> None:
    matrix = load_matrix()
    cells = tuple(
        AccessFacts(role=role, path=rule.path, verb=verb, expected=False, status=403, capable=False)
        for role in matrix.roles
        for rule in matrix.paths
        for verb in Verb
    )
    judge = import_module("smos.checks.vault.access").judge

    def too_little(facts: MatrixFacts) -> bool:
        return "access-too-little" in {item.code for item in judge(facts).findings}

    assert not too_little(MatrixFacts(matrix=matrix, cells=cells))
    assert too_little(MatrixFacts(matrix=matrix, cells=cells[1:]))
    half = matrix.model_copy(update={"paths": matrix.paths[::2]})
    kept = {rule.path for rule in half.paths}
    assert too_little(MatrixFacts(matrix=half, cells=tuple(cell for cell in cells if cell.path in kept)))


def test_a_listener_is_asked_over_tls(owner: Owner) -> None:
    tls = make_certificate(owner, owner.directory("tls", read_only=True))
    server = EmbeddedOpenBao(owner, name="tls", storage="inmem", tls=tls)
    server.start()
    url = server.tls_endpoint.url
    facts = read_tls(url, ca=tls.ca)
    assert (facts.verified, facts.version) == (True, "TLSv1.3")
    assert (facts.takes_old, facts.takes_plain) == (False, False)
    assert facts.days_left is not None
    assert 0.9 < facts.days_left < 1.1
    stranger = read_tls(url)
    assert stranger.verified is False
    assert "verify" not in stranger.reason.lower() or stranger.reason
    with opened(server.tls_endpoint) as client:
        opened_up(client)
        assert client.auth.token.lookup_self()["data"]["policies"] == ["root"]
    server.kill()
    assert read_tls(url, ca=tls.ca).verified is None, "nobody answers: nothing is known"
    assert server.pid is None


def test_a_listener_that_takes_plain_http_is_no_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"initialized":true}')

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        facts = read_tls(f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join(5)
    assert facts.verified is False


def test_a_server_of_another_authority_is_not_spoken_to(owner: Owner) -> None:
    first, second = (make_certificate(owner, owner.directory(f"tls-{n}", read_only=True)) for n in range(2))
    server = EmbeddedOpenBao(owner, name="other-ca", storage="inmem", tls=first)
    server.start()
    stranger = replace(server.tls_endpoint, ca=second.ca)
    with opened(stranger) as client, pytest.raises(CLIENT_ERRORS):
        client.sys.is_initialized()
    server.kill()


def test_a_live_certificate_that_ends_soon_fails_and_the_harness_own_does_not() -> None:
    judge = import_module("smos.checks.vault.hardening").judge
    tls = {"tls": {"address": "vault.example:443", "days_left": 13.9}}
    live = judge(ProbeFacts(probes=(), details=tls | {LIVE: True}))
    assert "hardening-certificate-ends" in {finding.code for finding in live.findings}
    own = judge(ProbeFacts(probes=(), details=tls))
    assert "hardening-certificate-ends" not in {finding.code for finding in own.findings}


@pytest.mark.parametrize(
    ("provision", "seal", "required"),
    [
        (Provision.LIVE, "shamir", False),
        (Provision.LIVE, "auto", True),
        (Provision.EMBEDDED, "shamir", True),
    ],
)
def test_auto_unseal_is_required_live_only_of_a_target_that_declares_it(
    provision: Provision, seal: str, required: bool
) -> None:
    target = Target.model_validate({"name": "x", "vault": {"seal": seal}})
    settings = Settings(
        target=target, target_file=None, provision=provision, backups=None, reports=Path("reports")
    )
    excused = dict(not_required(target, settings))
    assert ("VAULT-10" not in excused) is required


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"file/": {"options": {"file_path": "/vault/audit/audit.log"}}}, True),
        ({"file/": {"options": {"file_path": "stdout"}}}, True),
        ({"socket/": {"options": {"address": "127.0.0.1:9000"}}}, True),
        ({"file/": {"options": {"file_path": "/dev/null"}}}, False),
        ({"file/": {"options": {"file_path": "discard"}}}, False),
        ({"a/": {"options": {"file_path": "discard"}}, "b/": {"options": {"file_path": "audit.log"}}}, True),
        ({"a/": {"options": None}}, True),
        ({}, False),
    ],
)
def test_an_audit_device_that_writes_to_nowhere_is_none(answer: dict[str, Any], kept: bool) -> None:
    assert keeps({"data": answer}) is kept


def test_a_compose_file_that_nobody_understands_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "vault.yml"
    for text in (
        "",
        "services: {}",
        "services: {vault: [1]}",
        "services: {vault: {ulimits: 3}}",
        "a: [",
        "\xff",
    ):
        path.write_text(text, encoding="latin-1")
        probes = list(deployment(path))
        assert {item.claim for item in probes if not item.holds} >= {"published", "not-swapped"} - {
            item.claim for item in probes if item.holds
        }
        assert [item for item in probes if item.claim == "no-superuser" and item.holds] == []
    assert all(item.holds for item in deployment())


def test_doors_that_a_product_can_not_shut_are_said_and_not_failed() -> None:
    judge = import_module("smos.checks.vault.hardening").judge
    open_doors = tuple(Probe(claim=claim, status=200) for claim in ("generate-root", "rekey"))
    theirs = judge(ProbeFacts(probes=open_doors, details={LIVE: True, "product": "HashiCorp Vault"}))
    assert {item.code for item in theirs.findings} == {"hardening-door-built-in", "vault-live"}
    assert theirs.verdict is Verdict.NOT_PROVEN
    ours = judge(ProbeFacts(probes=open_doors, details={LIVE: True}))
    assert ours.verdict is Verdict.FAIL
