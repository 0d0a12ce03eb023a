"""Vault is set up once, privately, idempotently; its backup and its access rules are what they say."""

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr, TypeAdapter

from smos.checks.dr.vault import judge_vault
from smos.errors import BackupError
from smos.paths import compose_dir
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.vault.access import AccessFacts, Verb, load_matrix, try_access
from smos.vault.bootstrap import bootstrap
from smos.vault.escrow import read_escrow, write_escrow
from smos.vault.model import VaultError
from smos.vault.providers import load_registry
from smos.vault.recovery import VaultFacts
from smos.vault.snapshot import read_canary, take_snapshot
from tests._vault_kit import TENANTS, Source, declared, recovered, stand

POLICIES = compose_dir() / "vault" / "policies"


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-vault") as made:
        yield made


@pytest.fixture(scope="module")
def source(owner: Owner, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """One source for the tests that leave it as it is."""
    return stand(owner, "source", tmp_path_factory.mktemp("source"))


def test_a_fresh_vault_is_initialised_with_shares_in_a_private_file(owner: Owner, tmp_path: Path) -> None:
    server = EmbeddedOpenBao(owner, name="fresh")
    server.start()
    facts = bootstrap(
        server.endpoint, escrow=tmp_path / "deep" / "escrow.json", secret_keys={"app/x": ("y",)}
    )
    escrow = tmp_path / "deep" / "escrow.json"
    assert facts.initialized
    assert facts.root_token_revoked
    assert escrow.stat().st_mode & 0o777 == 0o600
    assert len(read_escrow(escrow).key_shares) == 5
    assert read_escrow(escrow).root_token is None
    assert [path.name for path in escrow.parent.iterdir()] == ["escrow.json"]
    server.kill()
    server.start()
    again = bootstrap(server.endpoint, escrow=escrow, secret_keys={"app/x": ("y",)})
    assert again.changes == ("unsealed",)
    server.kill()


def test_an_interrupted_set_up_is_continued_and_a_second_one_changes_nothing(source: Source) -> None:
    before = source.escrow.read_bytes()
    assert "policy ci" in source.facts.changes
    again = bootstrap(source.server.endpoint, escrow=source.escrow, tenants=TENANTS)
    assert again.changes == ()
    assert source.escrow.read_bytes() == before


def test_the_token_that_set_it_up_is_revoked(source: Source) -> None:
    accessors = source.root.auth.token.list_accessors()["data"]["keys"]
    assert len(accessors) == 1, "only the test's own root token is left; batch tokens have no accessor"


def test_what_is_missing_without_a_root_token_is_named(source: Source) -> None:
    with pytest.raises(VaultError, match="secret app/later") as caught:
        bootstrap(source.server.endpoint, escrow=source.escrow, secret_keys={"app/later": ("x",)})
    assert caught.value.code == "bootstrap-incomplete"


def test_an_escrow_of_another_vault_is_never_overwritten(owner: Owner, source: Source) -> None:
    server = EmbeddedOpenBao(owner, name="second")
    server.start()
    before = source.escrow.read_bytes()
    with pytest.raises(VaultError) as caught:
        bootstrap(server.endpoint, escrow=source.escrow)
    server.kill()
    assert caught.value.code == "escrow-exists"
    assert source.escrow.read_bytes() == before


def test_an_escrow_that_others_may_read_is_refused(source: Source, tmp_path: Path) -> None:
    copy = tmp_path / "escrow.json"
    copy.write_bytes(source.escrow.read_bytes())
    copy.chmod(0o640)
    with pytest.raises(VaultError) as caught:
        read_escrow(copy)
    assert caught.value.code == "escrow-exposed"


def test_a_tenant_id_can_not_widen_a_policy(source: Source) -> None:
    with pytest.raises(VaultError, match="no tenant id"):
        bootstrap(source.server.endpoint, escrow=source.escrow, tenants=('*" { capabilities = ["sudo"] }',))


def test_the_transit_key_rotates_by_itself_as_declared(source: Source) -> None:
    key = source.root.secrets.transit.read_key("smarteros-secrets")["data"]
    assert key["auto_rotate_period"] == 720 * 3600
    assert key["exportable"] is False
    assert key["deletion_allowed"] is False


def test_a_server_without_the_right_role_gives_no_snapshot(source: Source, tmp_path: Path) -> None:
    keys = source.keys()
    thief = keys.model_copy(update={"approles": {"backup": keys.approles["writer-copilot"]}})
    with pytest.raises((BackupError, VaultError)):
        take_snapshot(source.server.endpoint, thief, tmp_path / "vault")
    assert list((tmp_path / "vault").iterdir()) == []


def test_its_files_are_private_and_complete(source: Source) -> None:
    assert {path.name for path in source.backup.iterdir()} == {"canary.json", "raft.snap"}
    assert {path.stat().st_mode & 0o777 for path in source.backup.iterdir()} == {0o600}
    canary = read_canary(source.backup / "canary.json")
    assert canary.ciphertext.startswith("vault:v1:")
    assert {"backup", "recovery", "tenant-cl-0001"} <= set(canary.catalog.policies)
    assert canary.catalog.audit["file/"].file_path == "audit.log"


def test_no_secret_is_shown_anywhere(
    owner: Owner,
    source: Source,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [repr(source.keys()), repr(source.keys().approles), str(source.keys().model_dump())]
    take_snapshot(source.server.endpoint, source.keys(), tmp_path / "vault")
    shown.append((tmp_path / "vault" / "canary.json").read_text())
    facts = recovered(
        owner, tmp_path / "vault" / "raft.snap", tmp_path / "vault" / "canary.json", source.escrow
    )
    shown += [repr(facts), TypeAdapter(VaultFacts).dump_json(facts).decode()]
    shown.append(repr(judge_vault(declared(), facts)))
    keys = source.keys()
    wrong = keys.model_copy(update={"key_shares": (*keys.key_shares[:2], SecretStr("bm90LWEtc2hhcmU="))})
    facts = recovered(owner, tmp_path / "vault" / "raft.snap", None, wrong)
    assert not facts.unsealed
    shown.append(repr(facts))
    broken = tmp_path / "broken.json"
    write_escrow(broken, keys)
    broken.write_text(broken.read_text().replace('"threshold": 3', '"threshold": "many"'))
    for attempt in (
        lambda: read_escrow(broken),
        lambda: bootstrap(source.server.endpoint, escrow=source.escrow, secret_keys={"app/no": ("x",)}),
        lambda: try_access(
            source.server.endpoint,
            keys.model_copy(
                update={
                    "approles": {
                        **keys.approles,
                        "ci": keys.approles["ci"].model_copy(
                            update={"role_id": keys.approles["ci"].secret_id}
                        ),
                    }
                }
            ),
            load_matrix().model_copy(update={"roles": ("ci",)}),
        ),
    ):
        with pytest.raises(VaultError) as caught:
            attempt()
        shown.append("".join(traceback.format_exception(caught.value)))
    shown.append(caplog.text)
    shown += list(capfd.readouterr())
    shown.append(source.server.logs())
    assert source.server.audit_path is not None
    shown.append(source.server.audit_path.read_text())
    for process in Path("/proc").glob("[0-9]*"):
        try:
            shown.append((process / "cmdline").read_bytes().decode(errors="replace"))
            if b"bao" in (process / "cmdline").read_bytes():
                shown.append((process / "environ").read_bytes().decode(errors="replace"))
        except OSError:
            continue  # it ended meanwhile
    everything = "\n".join(shown)
    secrets = source.secrets()
    assert len(secrets) > 90
    assert [secret[:4] for secret in secrets if secret in everything] == []


def granted_wrongly(found: tuple[AccessFacts, ...]) -> list[str]:
    return [f"{cell.role} {cell.verb} {cell.path}" for cell in found if not cell.agrees]


def test_requests_capabilities_and_the_documented_matrix_agree(source: Source) -> None:
    # One role of each kind; VAULT-06 tries every role in the same way, twice: its check and its pristine control.
    matrix = load_matrix().model_copy(update={"roles": ("director-gemini", "backup", "tenant-cl-0001")})
    found = try_access(source.server.endpoint, source.keys(), matrix)
    assert len(found) == len(matrix.roles) * len(matrix.paths) * len(Verb)
    assert granted_wrongly(found) == []
    assert {role for role in matrix.roles if any(cell.expected for cell in found if cell.role == role)} == {
        *matrix.roles
    }


def test_every_provider_that_holds_a_secret_is_in_the_matrix() -> None:
    paths = {rule.path for rule in load_matrix().paths}
    assert set(load_registry().secrets()) <= paths
    assert len(load_registry().providers) == 28


def test_the_original_policies_without_data_grant_nothing_and_are_found(source: Source) -> None:
    texts = {}
    for name in ("director-gemini", "writer-copilot", "executor-codex", "ci"):
        texts[name] = (POLICIES / f"{name}.hcl").read_text()
        broken = (
            texts[name].replace("smarteros/data/", "smarteros/").replace("smarteros/metadata/", "smarteros/")
        )
        source.root.sys.create_or_update_acl_policy(name, broken, pretty_print=False)
    agents = load_matrix().model_copy(update={"roles": tuple(texts)})
    try:
        found = try_access(source.server.endpoint, source.keys(), agents, (Verb.READ, Verb.LIST))
    finally:
        for name, text in texts.items():
            source.root.sys.create_or_update_acl_policy(name, text, pretty_print=False)
    wrong = set(granted_wrongly(found))
    assert wrong == {f"{cell.role} {cell.verb} {cell.path}" for cell in found if cell.expected}, (
        "nothing that should be granted is, and nothing else is wrong"
    )


def test_a_policy_widened_to_everything_is_found(source: Source) -> None:
    text = (POLICIES / "writer-copilot.hcl").read_text()
    source.root.sys.create_or_update_acl_policy(
        "writer-copilot",
        'path "*" { capabilities = ["create", "read", "update", "list"] }',
        pretty_print=False,
    )
    one = load_matrix().model_copy(update={"roles": ("writer-copilot",)})
    try:
        found = try_access(source.server.endpoint, source.keys(), one, (Verb.READ, Verb.WRITE))
    finally:
        source.root.sys.create_or_update_acl_policy("writer-copilot", text, pretty_print=False)
    wrong = [cell for cell in found if not cell.agrees]
    assert {cell.expected for cell in wrong} == {False}
    assert len(wrong) > 100
    kept = source.root.secrets.kv.v2.read_secret(
        "mcp/stripe", mount_point="smarteros", raise_on_deleted_version=True
    )
    assert kept["data"]["metadata"]["version"] == 1, "the probe changed nothing although it could have"
