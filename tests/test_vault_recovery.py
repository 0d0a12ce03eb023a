"""Vault comes back from its snapshot, and every way in which it does not is told apart (F60-F63).

The recoveries wait for raft elections most of the time, so they all run side by side, once.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr, TypeAdapter

from smos.checks.dr.vault import judge_vault
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.target import VaultTarget
from smos.vault.bootstrap import bootstrap
from smos.vault.escrow import read_escrow
from smos.vault.model import opened
from smos.vault.providers import load_registry
from smos.vault.recovery import VaultFacts, prepare, recover
from smos.vault.snapshot import take_snapshot
from smos.verdict import Verdict
from tests._vault_kit import TENANTS, Source, codes, declared, raw_snapshot, recovered, stand

Case = Callable[[Owner, Source, Path], VaultFacts]


class Blind:
    """A server whose storage can't be watched, as in a container."""

    data_dir = Path("/nonexistent")

    def __init__(self, server: EmbeddedOpenBao) -> None:
        self._server = server
        self.endpoint = server.endpoint
        self.start, self.logs = server.start, server.logs
        self.sealed: bool | None = None
        """Whether it had sealed itself when it was ended first."""

    def kill(self) -> None:
        """End it."""
        if self.sealed is None:
            with opened(self.endpoint) as client:
                self.sealed = bool(client.seal_status["sealed"])
        self._server.kill()


def plain(owner: Owner, source: Source, _: Path) -> VaultFacts:
    """Nothing is wrong."""
    return recovered(owner, source.backup / "raft.snap", source.backup / "canary.json", source.escrow)


def of_another_cluster(owner: Owner, source: Source, folder: Path) -> VaultFacts:
    """Recover a snapshot that is whole, and another Vault's."""
    other = EmbeddedOpenBao(owner, name="other")
    other.start()
    bootstrap(other.endpoint, escrow=folder / "escrow.json", secret_keys={"app/x": ("y",)})
    take_snapshot(other.endpoint, read_escrow(folder / "escrow.json"), folder / "vault")
    other.kill()
    return recovered(owner, folder / "vault" / "raft.snap", source.backup / "canary.json", source.escrow)


def too_few_shares(owner: Owner, source: Source, _: Path) -> VaultFacts:
    """Lose shares: two are left of the three that are needed."""
    keys = source.keys()
    short = keys.model_copy(update={"key_shares": keys.key_shares[:2]})
    return recovered(owner, source.backup / "raft.snap", source.backup / "canary.json", short)


def weak_seal(owner: Owner, _: Source, folder: Path) -> VaultFacts:
    """Three shares were agreed, two open it."""
    weak = EmbeddedOpenBao(owner, name="weak")
    weak.start()
    escrow = folder / "escrow.json"
    bootstrap(weak.endpoint, escrow=escrow, secret_keys={"app/x": ("y",)}, threshold=2)
    take_snapshot(weak.endpoint, read_escrow(escrow), folder / "vault")
    weak.kill()
    agreed = read_escrow(escrow).model_copy(update={"threshold": 3})
    return recovered(owner, folder / "vault" / "raft.snap", folder / "vault" / "canary.json", agreed)


def with_ci() -> VaultTarget:
    """Return the declared target with one role more."""
    roles = (*declared().roles, declared().roles[0].model_copy(update={"name": "ci"}))
    return declared().model_copy(update={"roles": roles})


def half_of_it(owner: Owner, _: Source, folder: Path) -> VaultFacts:
    """Policies, a role, an audit device, a secret and the transit key did not come back as they were."""
    source = stand(owner, "damaged", folder)
    root = source.root
    canary = json.loads((source.backup / "canary.json").read_bytes())
    canary["catalog"]["audit"]["socket/"] = {"type": "socket", "file_path": None, "options": "0" * 64}
    (folder / "canary.json").write_text(json.dumps(canary))
    root.sys.delete_acl_policy("director-gemini")
    wide = 'path "smarteros/*" { capabilities = ["read"] }'
    root.sys.create_or_update_acl_policy("writer-copilot", wide, pretty_print=False)
    root.auth.approle.delete_role("ci")
    root.secrets.kv.v2.delete_metadata_and_all_versions("mcp/notion", mount_point="smarteros")
    root.secrets.transit.update_key_configuration("smarteros-secrets", deletion_allowed=True)
    root.secrets.transit.delete_key("smarteros-secrets")
    root.secrets.transit.create_key("smarteros-secrets")
    damaged = raw_snapshot(source, folder / "raft.snap")
    source.server.kill()
    return recovered(owner, damaged, folder / "canary.json", source.escrow, with_ci())


def one_bad_share(owner: Owner, source: Source, _: Path) -> VaultFacts:
    """One of the shares that are not needed is damaged; there is no canary file."""
    keys = source.keys()
    bad = keys.shares()[4]
    spoiled = SecretStr(("B" if bad[0] != "B" else "C") + bad[1:])
    escrow = keys.model_copy(update={"key_shares": (*keys.key_shares[:4], spoiled)})
    return recovered(owner, source.backup / "raft.snap", None, escrow)


def other_audit_device(owner: Owner, source: Source, _: Path) -> VaultFacts:
    """Give the sandbox another audit log than the source."""
    server = EmbeddedOpenBao(owner, name="odd", no_network=True)
    assert server.audit_path is not None
    server.audit_path = server.audit_path.with_name("elsewhere.log")
    server.start()
    return recover(
        server,
        snapshot=source.backup / "raft.snap",
        canary=source.backup / "canary.json",
        escrow=source.escrow,
        target=declared(),
    )


def slow_way(owner: Owner, source: Source, _: Path) -> VaultFacts:
    """Hide the sandbox's storage, and prepare it before."""
    server = EmbeddedOpenBao(owner, name="blind", no_network=True)
    server.start()
    blind = Blind(server)
    facts = recover(
        blind,
        snapshot=source.backup / "raft.snap",
        canary=source.backup / "canary.json",
        escrow=source.escrow,
        target=declared(),
        prepared=prepare(server),
    )
    assert blind.sealed, "it was ended before it said that it had restored everything"
    return facts


CASES: tuple[Case, ...] = (
    slow_way,
    half_of_it,
    weak_seal,
    of_another_cluster,
    other_audit_device,
    plain,
    too_few_shares,
    one_bad_share,
)


@pytest.fixture(scope="module")
def source(owner: Owner, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Return the Vault that most recoveries are of."""
    return stand(owner, "source", tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    """Owner of every server of this module."""
    with Owner("test-vault-recovery") as made:
        yield made


@pytest.fixture(scope="module")
def back(
    owner: Owner, source: Source, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[VaultFacts]]]:
    """Return every recovery under way."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        yield {
            case: pool.submit(case, owner, source, tmp_path_factory.mktemp(case.__name__)) for case in CASES
        }


Back = Mapping[Case, "Future[VaultFacts]"]


def test_a_vault_comes_back_from_its_snapshot(source: Source, back: Back) -> None:
    facts = back[plain].result()
    assert facts.problems == ()
    assert facts.restored
    assert facts.sealed_below_threshold is True
    assert facts.unsealed
    assert facts.cluster_id == source.facts.cluster_id
    assert [each.role for each in facts.logins] == ["director-gemini", "writer-copilot", "executor-codex"]
    assert {(each.allowed_status, each.denied_status) for each in facts.logins} == {(200, 403)}
    assert facts.canary_decrypts is True
    assert facts.escrow_canary_decrypts is True
    assert facts.secrets_expected == len(load_registry().secrets()) + 2 * len(TENANTS)
    assert facts.wrong_shares == 0
    assert judge_vault(declared(), facts).verdict is Verdict.PASS


def test_it_is_timed_and_has_no_network(back: Back) -> None:
    facts = back[plain].result()
    steps = [step for step, _ in facts.timings]
    assert steps == ["inspect", "prepare", "restore", "unseal", "logins", "compare"]
    assert all(seconds >= 0 for _, seconds in facts.timings)
    assert facts.isolation == "network-namespace"


def test_its_facts_survive_json(back: Back) -> None:
    adapter = TypeAdapter(VaultFacts)
    facts = back[half_of_it].result()
    assert adapter.validate_json(adapter.dump_json(facts)) == facts


def test_the_source_is_untouched(source: Source, back: Back) -> None:
    assert back[plain].result().unsealed
    health = source.root.sys.read_health_status(method="GET")
    assert health["cluster_id"] == source.facts.cluster_id
    assert source.server.audit_path is not None
    asked = [
        json.loads(line)["request"]["path"] for line in source.server.audit_path.read_text().splitlines()
    ]
    assert "transit/encrypt/smarteros-secrets" in asked
    assert "transit/decrypt/smarteros-secrets" not in asked, "that was asked of the sandbox only"


def test_f60_a_snapshot_of_another_cluster_does_not_open_with_these_shares(back: Back) -> None:
    facts = back[of_another_cluster].result()
    assert facts.restored
    assert not facts.unsealed
    assert codes(facts) == {"vault-wrong-cluster": Verdict.FAIL}


def test_f61_too_few_shares_leave_it_sealed(back: Back) -> None:
    facts = back[too_few_shares].result()
    assert facts.sealed_below_threshold is True
    assert not facts.unsealed
    assert codes(facts) == {"vault-still-sealed": Verdict.FAIL}


def test_f61_a_seal_that_opens_below_the_agreed_threshold_is_found(back: Back) -> None:
    facts = back[weak_seal].result()
    assert facts.sealed_below_threshold is False
    found = codes(facts, VaultTarget())
    assert found["vault-unsealed-below-threshold"] is Verdict.FAIL
    assert found["vault-threshold-differs"] is Verdict.FAIL


def test_f62_f63_what_did_not_come_back_is_named(back: Back) -> None:
    facts = back[half_of_it].result()
    assert facts.unsealed
    assert facts.policies_missing == ("director-gemini",)
    assert facts.policies_changed == ("writer-copilot",)
    assert facts.auth_missing == ("approle/ci",)
    assert facts.audit_missing == ("socket/",)
    assert facts.secrets_missing == 1
    assert facts.canary_decrypts is False
    assert facts.escrow_canary_decrypts is False
    assert codes(facts, with_ci()) == dict.fromkeys(
        (
            "vault-canary-undecryptable",
            "vault-allowed-read-refused",
            "vault-denied-read-granted",
            "vault-login-failed",
            "vault-policies-missing",
            "vault-policies-changed",
            "vault-auth-missing",
            "vault-audit-missing",
            "vault-secret-missing",
        ),
        Verdict.FAIL,
    )


def test_a_damaged_share_is_found_although_enough_good_ones_open_it(back: Back) -> None:
    facts = back[one_bad_share].result()
    assert facts.unsealed
    assert facts.wrong_shares == 1
    found = codes(facts)
    assert found["vault-share-wrong"] is Verdict.FAIL
    assert found["vault-canary-missing"] is Verdict.NOT_PROVEN


def test_an_audit_device_that_differs_is_the_sandboxs_fault(back: Back) -> None:
    assert codes(back[other_audit_device].result()) == {"vault-sandbox-audit": Verdict.NOT_PROVEN}


def test_where_the_storage_can_not_be_watched_the_slow_way_works(back: Back) -> None:
    facts = back[slow_way].result()
    assert judge_vault(declared(), facts).verdict is Verdict.PASS
