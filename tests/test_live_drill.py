"""Whole drills over SSH, against a real sshd: green where all is well, not proven where the host is another one."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smos.clock import SystemClock
from smos.faults.dr.material import Material, prepare
from smos.paths import compose_dir
from smos.provision.owner import Owner
from smos.target import load_target
from tests._sshd_kit import Sshd, host, needs_sshd

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
EIGHT = [f"DR-0{number}" for number in range(1, 9)]


def test_the_example_of_a_production_target_declares_all_of_the_platform() -> None:
    target = load_target(ROOT / "targets" / "production.example.yml")
    declared = {service.name for service in target.services}
    assert {f"smarter-{name}" for name in ("postgres", "redis", "n8n", "odoo", "vault")} <= declared
    assert {"demo", "grafana", "sentry", "otel"} <= declared
    assert {"odoo", "smarteros", "n8n", "chatwoot", "botpress"} <= set(target.database_names)
    assert {"n8n_data", "odoo-web-data", "chatwoot-data", "redis-data", "clickhouse-data", "grafana-data",
            "sentry-data"} <= set(target.volumes)  # fmt: skip
    assert target.vault is not None
    assert target.vault.address == "https://vault.smarterbot.cl"
    assert target.host is not None
    assert target.host.address.startswith("ssh://")
    assert target.evidence.store is not None


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return prepare(tmp_path_factory.mktemp("material"), SystemClock(), lambda _: None)


@pytest.fixture
def sshd(material: Material) -> Iterator[Sshd]:
    with Owner("test-drill") as owner, host(owner, "d") as running:
        shutil.copytree(material.backups, running.backups, dirs_exist_ok=True)
        subprocess.run(["chmod", "-R", "a+rX", running.backups], check=True, timeout=60)
        running.tool(
            "docker",
            'echo \'{"Status":"running","Running":true,"StartedAt":"2026-01-01T00:00:00Z",'
            '"Health":{"Status":"healthy"}} 0\'',
        )
        yield running


def declare(tmp_path: Path, material: Material, sshd: Sshd) -> Path:
    """Write a target file as a user would."""
    text = (compose_dir() / "selftest" / "target.yml").read_text()
    vault, key = material.target.vault, material.target.backups.manifest_public_key
    assert vault is not None
    for old, new in (
        ("name: self-test", "name: over-ssh"),
        ("scope: self-test", "scope: production"),
        (
            "  encrypted: true\n",
            f"  source: {{kind: host, path: {sshd.backups}}}\n  manifest_public_key: {key}\n",
        ),
        ("vault:\n", f"vault:\n  escrow: {vault.escrow}\n"),
        ("services:\n", "services:\n  - {name: smarter-odoo, kind: container}\n"),
    ):  # fmt: skip
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "store").mkdir()
    text += (
        f"host:\n  address: {sshd.address}\n"
        f"  ssh: {{known_hosts: {sshd.known_hosts}, identity_file: {sshd.identity}, config_file: /dev/null}}\n"
        "  limits: {disk_used_percent: 100, inodes_used_percent: 100, memory_available_percent: 0}\n"
        f"evidence:\n  store: {{kind: directory, path: {tmp_path / 'store'}}}\n"
    )
    path = tmp_path / "target.yml"
    path.write_text(text)
    return path


def run(words: list[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    ours = ("SMOS_", "PYTEST_", "OTEL_", "GITHUB_", "SSH_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=280, check=False)


@needs_sshd
@pytest.mark.slow
def test_a_drill_over_ssh_is_proven_and_a_host_with_another_key_is_not(
    tmp_path: Path, material: Material, sshd: Sshd
) -> None:
    target, reports = declare(tmp_path, material, sshd), tmp_path / "reports"
    done = run(
        [BIN / "pytest", "-m", "dr", "--provision", "live", "--target", target, "--reports", reports, "-p",
         "no:cacheprovider"], ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((reports / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["scope"], verdict["provision"]) == ("PASS", "production", "live")
    proven = {item["id"]: item["verdict"] for item in verdict["checks"]}
    assert [proven[check] for check in EIGHT] == ["PASS"] * 8
    rto = json.loads((reports / "rto.json").read_text())
    phases = {item["name"]: item["seconds"] for item in rto["phases"]}
    assert phases["fetch"] > 0
    assert rto["rto_actual_s"] >= phases["fetch"]
    newest = max(sshd.backups.iterdir())
    assert rto["fetched_bytes"] == sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
    assert rto["fetch_bytes_per_s"] > 0
    (facts,) = [item["facts"] for item in verdict["checks"] if item["id"] == "DR-05"]
    assert {item["name"] for item in facts["host"]["commands"]} == {
        "container", "list", "read", "clock", "memory", "room", "inodes",
    }  # fmt: skip
    assert len((tmp_path / "store" / "over-ssh" / "history.jsonl").read_text().splitlines()) == 1
    assert (tmp_path / "store" / "over-ssh" / "baseline.json").is_file()
    assert {line.split()[0] for line in sshd.commands} == {"find", "tail", "date", "cat", "df", "docker"}

    sshd.process.kill()
    sshd.new_host_key()
    with Owner("test-drill-again") as owner:
        sshd.start(owner)
        sshd.forget_commands()
        again = run(
            [BIN / "smos", "drill", "--quiet", "--target", target, "--reports", tmp_path / "other"], tmp_path
        )
    assert again.returncode == 10, again.stdout + again.stderr
    verdict = json.loads((tmp_path / "other" / "verdict.json").read_text())
    found = {item["id"]: {one["code"] for one in item["findings"]} for item in verdict["checks"]}
    assert {item["verdict"] for item in verdict["checks"] if item["id"] in EIGHT} == {"NOT_PROVEN"}
    assert all("host-key-changed" in found[check] for check in EIGHT)
    assert sshd.commands == []  # nothing was asked of whoever it is
    assert len((tmp_path / "store" / "over-ssh" / "history.jsonl").read_text().splitlines()) == 2
