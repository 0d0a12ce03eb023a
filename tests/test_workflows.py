"""The workflows can't run here; their commands can: in order, in a clean clone, with what GitHub's runner gives."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from smos.provision.owner import Owner
from tests._sshd_kit import SSHD, Sshd, host

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
INDIFFERENT = ("Install", "Self-test of the harness")
"""The steps of the monthly drill that are the same whatever the target is."""
MONTHLY = ROOT / ".github" / "workflows" / "dr-test-monthly.yml"


def load(path: Path) -> dict:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def steps(document: dict) -> list[dict]:
    return [step for job in document["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_no_more_rights_than_it_needs_and_ends(path: Path) -> None:
    document = load(path)
    assert document["permissions"] == {}
    for job in document["jobs"].values():
        assert set(job["permissions"].values()) <= {"read"}
        assert job["timeout-minutes"] <= 300
    for step in steps(document):
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        if step.get("uses", "").startswith("actions/upload-artifact@"):
            assert step["with"]["if-no-files-found"] == "error"
            assert step["if"] == "always()"
        assert "${{" not in step.get("run", ""), "an expression in a script is an injection"


def test_the_drill_is_monthly_at_three_in_santiago_and_never_cut_off() -> None:
    document = load(MONTHLY)
    trigger = document[True] if True in document else document["on"]
    assert trigger["schedule"] == [{"cron": "0 3 1 * *", "timezone": "America/Santiago"}]
    assert set(trigger["workflow_dispatch"]["inputs"]) == {"target", "channel"}
    assert document["concurrency"]["cancel-in-progress"] is False
    (upload,) = [step for step in steps(document) if "upload-artifact" in step.get("uses", "")]
    assert upload["with"]["retention-days"] == 90


class Listener:
    """Stands in for Slack and for the external monitor, on loopback."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.seen.append((self.command, self.path, body))
                self.send_response(outer.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_GET = do_POST  # noqa: N815  (the same)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def condition(step: dict, env: dict[str, str], *, failed: bool) -> bool:
    """Decide the conditions that the file uses; one that is not known here fails the test."""
    text = step.get("if", "success()").strip()
    known = {
        "always()": True,
        "success()": not failed,
        "${{ !cancelled() && env.TARGET != '' }}": env["TARGET"] != "",
    }
    return known[text]


def run_steps(
    clone: Path, env: dict[str, str], secrets: dict[str, str], *, proven: tuple[str, ...] = ()
) -> list[tuple[str, int]]:
    """Run the steps in order. `proven`: whose commands succeeded here before, and know nothing of the target."""
    done, failed = [], False
    for step in steps(load(MONTHLY)):
        if "run" not in step or not condition(step, env, failed=failed):
            continue
        if step["name"] in proven:
            assert not {"env", "if"} & set(step)
            assert not re.search(r"TARGET|CHANNEL", step["run"])
            continue
        own = {
            name: secrets.get(value[len("${{ secrets.") : -len(" }}")], "")
            for name, value in step.get("env", {}).items()
        }
        result = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=clone,
            env=env | own,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        done.append((step["name"], result.returncode))
        failed = failed or result.returncode != 0
        with (clone / "log").open("a") as log:
            log.write(f"== {step['name']}\n{result.stdout}{result.stderr}\n")
    return done


@pytest.fixture
def sshd() -> Iterator[Sshd | None]:
    """Give the production host of the target; None where no sshd is installed: then backups are a local directory."""
    if SSHD is None:
        yield None
        return
    with Owner("test-workflow") as owner, host(owner, "w") as running:
        yield running


def bytecode_of_packages(folder: Path, clone: Path) -> Path:
    """Give the clone a place for bytecode in which that of the packages lies already, where there is some.

    They are the same files as here (the lock says so); Python compares each with its source all the same.
    """
    place, known = folder / "bytecode", Path(sys.pycache_prefix or "")
    packages = Path(".venv", "lib").joinpath(f"python{sys.version_info.major}.{sys.version_info.minor}")
    kept = known.joinpath(*ROOT.parts[1:], packages)
    place.mkdir()
    if sys.pycache_prefix and kept.is_dir():
        there = place.joinpath(*clone.parts[1:], packages)
        there.parent.mkdir(parents=True)
        there.symlink_to(kept, target_is_directory=True)
    return place


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="a clean clone is made with git")
def test_the_commands_of_the_monthly_drill_work_in_a_clean_clone(
    tmp_path: Path, listener: Listener, sshd: Sshd | None
) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, timeout=120)
    summary, target = tmp_path / "summary.md", clone / "targets" / "mine.yml"
    target.parent.mkdir(exist_ok=True)
    (tmp_path / "backups").mkdir()
    place = f"directory: {tmp_path / 'backups'}"
    if sshd is not None:
        shutil.copyfile(sshd.known_hosts, target.parent / "known_hosts")
        place = f"source: {{kind: host, path: {sshd.backups}}}"
    there = sshd.address if sshd else "local://"
    target.write_text(
        f"schema: 1\nname: mine\nbackups: {{{place}}}\ndatabases: [{{name: a}}]\n"
        f"host: {{address: '{there}', ssh: {{known_hosts: known_hosts}}}}\n"
    )
    ours = ("SMOS_", "SLACK_", "GITHUB_", "VAULT_", "BAO_", "PYTEST_", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "SMOS_HOME": str(tmp_path / "home"),
        "PYTHONPYCACHEPREFIX": str(bytecode_of_packages(tmp_path, clone)),
        "TARGET": "",
        "CHANNEL": "",
        "RUN_URL": "https://ci.example/1",
    }
    secrets = {
        "SLACK_WEBHOOK_URL": f"{listener.url}/services/canary",
        "DEAD_MAN_URL": f"{listener.url}/alive",
        "SSH_DEPLOY_KEY": sshd.identity.read_text() if sshd else "",
    }

    proven = run_steps(clone, env, secrets)
    log = (clone / "log").read_text()
    assert [code for _, code in proven] == [0, 0, 0, 0], log
    assert [path for _, path, _ in listener.seen] == ["/services/canary", "/alive"]
    assert "PASS" in json.loads(listener.seen[0][2])["text"]
    assert "PASS" in summary.read_text()

    listener.seen.clear()
    listener.status = 404  # the webhook was revoked: the step fails, and the evidence stays
    unproven = dict(run_steps(clone, env | {"TARGET": "targets/mine.yml"}, secrets, proven=INDIFFERENT))
    assert unproven["Recovery drill"] in {1, 10}, (clone / "log").read_text()
    assert unproven["Tell the channel"] == 3
    assert [path for _, path, _ in listener.seen] == ["/services/canary"]  # the monitor was told nothing
    assert "PASS" not in json.loads(listener.seen[0][2])["text"]
    assert (clone / "reports" / "drill" / "verdict.json").is_file()
    assert (clone / "reports" / "self-test" / "verdict.json").is_file()
    assert "canary" not in (clone / "log").read_text()
    assert "PRIVATE KEY" not in (clone / "log").read_text()
    if sshd is not None:  # the agent of the step was enough; the host saw what the list allows
        assert {line.split()[0] for line in sshd.commands} >= {"find", "df"}
        verdict = json.loads((clone / "reports" / "drill" / "verdict.json").read_text())
        assert verdict["provision"] == "live"
        codes = {found["code"] for check in verdict["checks"] for found in check["findings"]}
        assert not {"host-refused-login", "host-unreachable", "host-key-unknown"} & codes
