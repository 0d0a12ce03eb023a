"""The compose stack's scripts and configurations, run for real: only Docker is missing."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from smos.cli.app import app
from smos.errors import ProvisionError
from smos.paths import compose_dir
from smos.provision.base import VaultEndpoint
from smos.provision.certificates import make_certificate
from smos.provision.embedded.openbao import EmbeddedOpenBao, find_program
from smos.provision.embedded.stack import rendered, stack_text
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.vault.bootstrap import ROLES, bootstrap
from smos.vault.escrow import AppRoleCredential, read_escrow
from smos.vault.model import CLIENT_ERRORS, VaultError, opened
from smos.wait import wait_for

STACK = compose_dir() / "vault"
SHELL = shutil.which("dash") or "/bin/sh"


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-vault-stack") as made:
        yield made


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """Give a directory with the program under the name that both images have."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "vault").symlink_to(find_program())
    return folder


def run(
    script: str, env: dict[str, str], *, watch: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script of the stack. watch: gets every argument list of a process below it that was seen."""
    env = env | {"GOGC": "off"}  # dozens of clients of one request each
    with subprocess.Popen(
        [SHELL, str(STACK / script)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while watch is not None and process.poll() is None:
            watch += arguments(process.pid)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
        out, err = process.communicate(timeout=500)
    return subprocess.CompletedProcess([script], process.returncode, out, err)


def arguments(pid: int) -> list[str]:
    """Return the argument lists of what runs below a process now."""
    found: list[str] = []
    with suppress(OSError):  # it ended meanwhile
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):  # so did this one; the others may go on
                found.append(Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace"))
            found += arguments(int(child))
    return found


@pytest.mark.slow  # some fifty runs of a client of 75 MB
def test_the_whole_stack_starts_from_its_own_files_and_is_set_up_over_tls(
    owner: Owner, shim: Path, tmp_path: Path
) -> None:
    root, home = tmp_path / "vault", tmp_path
    mine = f"{os.getuid()}:{os.getgid()}"
    env = {
        "PATH": f"{shim}:/usr/bin:/bin",
        "HOME": str(home),
        "SMARTER_ROOT": str(root),
        "SMARTER_OWNER": mine,
    }
    first = run("vault-prepare.sh", env)
    assert first.returncode == 0, first.stderr
    assert "made a certificate" in first.stdout
    assert {path.name: path.stat().st_mode & 0o777 for path in root.iterdir()} == dict.fromkeys(
        ("data", "audit", "tls", "escrow"), 0o700
    )
    assert {path.name: path.stat().st_mode & 0o777 for path in (root / "tls").iterdir()} == dict.fromkeys(
        ("ca.pem", "server.pem", "server.key"), 0o600
    )
    key = (root / "tls" / "server.key").read_bytes()
    assert run("vault-prepare.sh", env).stdout == "", "a second run changes nothing"
    assert (root / "tls" / "server.key").read_bytes() == key

    with PortClaim() as claim:
        config = tmp_path / "config"
        config.mkdir()
        text = rendered(
            stack_text(),
            address=claim.address,
            data=root / "data",
            certificate=root / "tls" / "server.pem",
            key=root / "tls" / "server.key",
        )
        (config / "vault-config.hcl").write_text(text)
        with subprocess.Popen(
            [SHELL, str(STACK / "vault-start.sh")],
            env=env | {"SMARTER_CONFIG_DIR": str(config)},
            cwd=root / "audit",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                client = env | {
                    "VAULT_ADDR": f"https://{claim.address}",
                    "VAULT_CACERT": str(root / "tls" / "ca.pem"),
                    "SMARTER_ESCROW": str(root / "escrow" / "escrow.json"),
                    "SMARTER_POLICIES": str(STACK / "policies"),
                }
                set_up(client, root)
            finally:
                server.kill()


def set_up(env: dict[str, str], root: Path) -> None:
    endpoint = VaultEndpoint(url=env["VAULT_ADDR"], ca=Path(env["VAULT_CACERT"]))
    with opened(endpoint) as client:
        wait_for(
            lambda: client.sys.read_seal_status() and True,
            what="it answers over TLS",
            deadline_s=120,
            transient=CLIENT_ERRORS,
        )
    seen: list[str] = []
    first = run("vault-init.sh", env, watch=seen)
    assert first.returncode == 0, first.stderr
    assert "the root token is revoked" in first.stdout
    assert "Never keep it with the backups" in first.stdout
    escrow = Path(env["SMARTER_ESCROW"])
    assert escrow.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in escrow.parent.iterdir()] == ["escrow.json"]
    keys = read_escrow(escrow)
    assert (len(keys.shares()), keys.threshold, keys.root_token) == (5, 3, None)
    assert set(keys.approles) == set(ROLES)
    secrets = [*keys.shares(), *(item.secret_id.get_secret_value() for item in keys.approles.values())]
    assert any("sys/unseal" in text for text in seen), "processes were looked at"
    shown = "\n".join([first.stdout, first.stderr, *seen])
    assert [secret[:4] for secret in secrets if secret in shown] == []

    before = escrow.read_bytes()
    again = run("vault-init.sh", env)
    assert again.returncode == 0
    assert "nothing was changed" in again.stdout
    assert escrow.read_bytes() == before
    # The harness' own set-up takes over what the script left, and misses only what the script does not make.
    facts = bootstrap(endpoint, escrow=escrow, secret_keys={})
    assert facts.changes == ()
    assert (root / "audit" / "audit.log").stat().st_mode & 0o777 == 0o600
    with opened(endpoint) as client:
        roots = client.session.get(f"{client.url}/v1/sys/generate-root/attempt")
        assert roots.status_code == 405

    escrow.unlink()
    gone = run("vault-init.sh", env)
    assert gone.returncode == 1
    assert "unseal it with the shares from their keepers" in gone.stderr


@pytest.mark.slow
def test_a_sealed_vault_is_unsealed_again_and_an_interrupted_set_up_continued(
    owner: Owner, shim: Path, tmp_path: Path
) -> None:
    server = EmbeddedOpenBao(owner, name="interrupted", memory=True)
    server.start()
    escrow = tmp_path / "escrow.json"
    env = {
        "PATH": f"{shim}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "VAULT_ADDR": f"unix://{server.socket_path}",
        "SMARTER_ESCROW": str(escrow),
        "SMARTER_POLICIES": str(tmp_path / "none"),
    }
    broken = run("vault-init.sh", env)
    assert broken.returncode == 1
    assert "there is no policy in" in broken.stderr
    made = with_all_roles_but(server, escrow, "mcp-server")
    server.kill()
    server.start()
    # One policy and one role will do: that all are made is shown above, and every one is a run of the client or three.
    policies = tmp_path / "policies"
    policies.mkdir()
    shutil.copy(STACK / "policies" / "ci.hcl", policies)
    ended = run("vault-init.sh", env | {"SMARTER_POLICIES": str(policies)})
    server.kill()
    assert ended.returncode == 0, ended.stderr
    assert "unsealing" in ended.stdout
    assert "wrote the policies" in ended.stdout
    ended_with = read_escrow(escrow)
    assert ended_with.root_token is None
    assert set(ended_with.approles) == set(ROLES)
    assert {role: ended_with.approles[role] for role in made} == made, "what was made before is kept"
    assert ended_with.approles["mcp-server"].role_id not in {item.role_id for item in made.values()}


def with_all_roles_but(server: EmbeddedOpenBao, escrow: Path, last: str) -> dict[str, AppRoleCredential]:
    """Leave what a set-up leaves that is interrupted before it makes its last role; return what it noted."""
    noted = read_escrow(escrow)
    assert noted.root_token is not None, "it can be continued"
    lines = []
    with opened(server.endpoint) as client:
        client.token = noted.root_token.get_secret_value()
        for role in ROLES:
            if role != last:
                client.auth.approle.create_or_update_approle(role, token_policies=[role], token_type="batch")
                role_id = client.auth.approle.read_role_id(role)["data"]["role_id"]
                secret_id = client.auth.approle.generate_secret_id(role)["data"]["secret_id"]
                lines.append(f'  "{role}": {{"role_id": "{role_id}", "secret_id": "{secret_id}"}}')
    # As the script writes it, one role a line.
    head = ' "approles": {\n'
    text = escrow.read_text()
    assert head in text
    escrow.write_text(text.replace(head, head + ",\n".join(lines) + "\n"))
    return read_escrow(escrow).approles


def test_an_escrow_of_another_vault_is_never_overwritten(owner: Owner, shim: Path, tmp_path: Path) -> None:
    server = EmbeddedOpenBao(owner, name="other", storage="inmem")
    server.start()
    escrow = tmp_path / "escrow.json"
    escrow.write_text("{}")
    env = {
        "PATH": f"{shim}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "VAULT_ADDR": f"unix://{server.socket_path}",
        "SMARTER_ESCROW": str(escrow),
    }
    done = run("vault-init.sh", env)
    server.kill()
    assert done.returncode == 1
    assert "holds the shares of one" in done.stderr
    assert escrow.read_text() == "{}"


def test_both_configurations_differ_only_in_what_the_products_understand() -> None:
    def settings(name: str) -> set[str]:
        lines = (STACK / name).read_text().splitlines()
        return {" ".join(line.replace('"1"', "1").split()) for line in lines if line and line[0] != "#"}

    ours, theirs = settings("vault-config.hcl"), settings("vault-config.vault.hcl")
    assert theirs - ours == {"disable_mlock = true"}
    assert ours - theirs == {'audit "file" "file" {', "options {", 'file_path = "audit.log"', 'mode = "0600"'}


def test_openbao_runs_on_the_other_products_configuration_too(owner: Owner, tmp_path: Path) -> None:
    tls = make_certificate(owner, owner.directory("tls", read_only=True))
    text = stack_text("vault-config.vault.hcl").replace("disable_mlock = true", "")
    server = EmbeddedOpenBao(owner, name="vault-hcl", memory=True, tls=tls, stack=text)
    server.start()
    with opened(server.tls_endpoint) as client:
        assert client.sys.is_initialized() is False
    server.kill()


def test_a_configuration_without_a_known_place_is_refused() -> None:
    with pytest.raises(ProvisionError, match="does not name"):
        rendered("listener {}", address="127.0.0.1:1", data=Path("d"), certificate=Path("c"), key=Path("k"))


def test_the_compose_file_keeps_its_promises() -> None:
    document = YAML(typ="safe").load((compose_dir() / "vault.yml").read_text())
    server, prepare = document["services"]["vault"], document["services"]["vault-prepare"]
    assert server["container_name"] == "smarter-vault"
    assert server["ports"] == ["127.0.0.1:${VAULT_PORT:-8200}:8200"]
    assert server["user"] == "100:1000"
    for service in (server, prepare):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["ulimits"] == {"core": 0}
        assert service["deploy"]["resources"]["limits"]["memory"]
    assert "cap_add" not in server
    assert prepare["network_mode"] == "none"
    assert server["healthcheck"]["test"] == ["CMD", "vault", "status"]
    assert all(volume["labels"] for volume in document["volumes"].values())
    assert "./vault/vault-init.sh:/vault-init.sh:ro" in server["volumes"]
    assert all((STACK / name).stat().st_mode & 0o111 for name in ("vault-init.sh", "vault-start.sh"))


def test_the_compose_file_runs_the_version_that_is_tested() -> None:
    text = subprocess.run([find_program(), "version"], capture_output=True, text=True, check=True).stdout
    version = text.split()[1].removeprefix("v")
    assert f":-docker.io/openbao/openbao:{version}}}" in (compose_dir() / "vault.yml").read_text()


def test_smos_vault_init_sets_up_and_changes_nothing_the_second_time(owner: Owner, tmp_path: Path) -> None:
    tls = make_certificate(owner, owner.directory("cli-tls", read_only=True))
    server = EmbeddedOpenBao(owner, name="cli", memory=True, tls=tls)
    server.start()
    escrow = tmp_path / "escrow.json"
    words = [
        "vault",
        "init",
        "--address",
        server.tls_endpoint.url,
        "--ca",
        str(tls.ca),
        "--escrow",
        str(escrow),
    ]
    first = CliRunner().invoke(app, [*words, "--tenant", "cl-0001", "--json"])
    assert first.exit_code == 0, first.output
    facts = json.loads(first.stdout)
    assert facts["root_token_revoked"] is True
    assert facts["secrets"] == 2, "the tenant's alone: nothing synthetic among the providers'"
    assert "Move it off this machine NOW" in first.stderr
    assert not any(share in first.output for share in read_escrow(escrow).shares())
    second = CliRunner().invoke(app, [*words, "--tenant", "cl-0001"])
    server.kill()
    assert "all was there" in second.stdout


def test_smos_vault_init_sends_no_share_without_tls(tmp_path: Path) -> None:
    words = ["vault", "init", "--address", "http://vault.example:8200", "--escrow", str(tmp_path / "x")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert "not https" in str(done.exception)
    assert not isinstance(done.exception, VaultError)
