"""`smos services` and `smos deploy`, on a real engine with images of a few MB that are made here; `smos health`."""

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from smos.deploy.compose import ServiceState, find_compose
from smos.deploy.gate import judge_gate, unprovable
from smos.errors import ProvisionError, UnreachableError
from smos.health.postgres import PostgresFacts, judge_postgres
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.services.containers import ContainerFacts, judge_container, of_stack
from smos.services.embedded import judge_embedded, read_embedded
from smos.services.engine import engine
from smos.verdict import Verdict
from tests._forked import run_smos

SMOS = Path(sys.executable).with_name("smos")
LONG_S = 300
"""Against a hang only."""


def smos(home: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SMOS_", "DOCKER_", "VAULT_"))
    }
    return run_smos(
        words, env=clean | {"SMOS_HOME": str(home), "SMOS_KEYRING": "off"} | env, cwd=home, timeout=LONG_S
    )


# --- judges -----------------------------------------------------------------------------------------------------------


def container(**facts: Any) -> ContainerFacts:
    base: dict[str, Any] = {
        "name": "smarter-odoo", "service": "odoo", "project": "smarter", "image": "odoo:17", "image_id": "sha256:1",
        "status": "running", "health": "healthy", "exit_code": 0, "restarts": 0, "started": "", "one_shot": False,
    }  # fmt: skip
    return ContainerFacts(**(base | facts))


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({}, Verdict.PASS),
        ({"health": ""}, Verdict.NOT_PROVEN),
        ({"health": "starting"}, Verdict.NOT_PROVEN),
        ({"health": "unhealthy"}, Verdict.FAIL),
        ({"status": "exited", "health": ""}, Verdict.FAIL),
        ({"status": "exited", "health": "", "one_shot": True}, Verdict.PASS),
        ({"status": "exited", "exit_code": 137, "one_shot": True}, Verdict.FAIL),
        ({"status": "restarting"}, Verdict.FAIL),
        ({"status": "paused"}, Verdict.FAIL),
        ({"status": "created", "health": ""}, Verdict.FAIL),
        ({"status": "dead"}, Verdict.FAIL),
    ],
    ids=str,
)
def test_only_its_own_health_check_makes_a_container_healthy(facts: dict[str, Any], verdict: Verdict) -> None:
    assert judge_container(container(**facts)).verdict is verdict


def test_a_stack_is_its_compose_project_or_its_prefix() -> None:
    assert of_stack("x", {"com.docker.compose.project": "smarter"}, "smarter")
    assert of_stack("smarter-odoo", {}, "smarter")
    assert not of_stack("smarterer", {}, "smarter")


def test_what_has_no_evidence_is_not_deployed_and_what_ended_is_no_success() -> None:
    checked = {"image": "a", "healthcheck": {"test": ["CMD", "true"]}, "restart": "always"}
    config = {"services": {"a": checked, "b": {"image": "b", "restart": "always"}, "job": {"image": "c"}}}
    assert unprovable(config, None) == ("b",)
    assert unprovable(config, "https://x") == ()

    def state(service: str, **facts: Any) -> ServiceState:
        base: dict[str, Any] = {
            "name": service,
            "status": "running",
            "health": "",
            "exit_code": 0,
            "image": "",
            "image_id": "",
        }
        return ServiceState(service=service, **(base | facts))

    good = [state("a", health="healthy"), state("b"), state("job", status="exited")]
    assert not judge_gate(config, good, None).passed
    assert judge_gate(config, good, (True, "")).passed
    assert not judge_gate(config, good, (False, "status 500")).passed
    assert not judge_gate(config, good[1:], (True, "")).passed
    assert judge_gate(config, [*good[:2], state("job", status="exited", exit_code=3)], (True, "")).failed


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"version": "18.1", "standby": False, "used": 3, "most": 100}, Verdict.PASS),
        ({"version": "18.1", "standby": True, "used": 3, "most": 100}, Verdict.NOT_PROVEN),
        ({"version": "18.1", "standby": False, "used": 100, "most": 100}, Verdict.FAIL),
        ({"problem": "refused"}, Verdict.FAIL),
        ({"problem": "silent"}, Verdict.NOT_PROVEN),
    ],
    ids=str,
)
def test_postgres_is_healthy_when_a_primary_answered(facts: dict[str, Any], verdict: Verdict) -> None:
    assert judge_postgres(PostgresFacts(where="h:5432/d", **facts)).verdict is verdict


# --- health -----------------------------------------------------------------------------------------------------------


class Page(BaseHTTPRequestHandler):
    """Answers 200 at /ok and 500 elsewhere."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200 if self.path == "/ok" else 500)
        self.end_headers()
        self.wfile.write(b"fine")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def silent_address() -> Iterator[str]:
    """Give an address at which nobody listens, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_health_asks_what_the_configuration_names_and_ends_with_one_code(
    tmp_path: Path, address: str
) -> None:
    nothing = smos(tmp_path, "health", "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)["verdict"]) == (10, "NOT_PROVEN")
    with Owner("test-health") as owner:
        server = EmbeddedPostgres(owner, name="live", memory=True)
        server.start()
        env = {"SMOS_POSTGRES_DSN": server.endpoint.conninfo(), "SMOS_HEALTH_URLS": f"{address}/ok"}
        good = smos(tmp_path, "health", "--json", **env)
        assert good.returncode == 0, good.stdout
        assert [item["kind"] for item in json.loads(good.stdout)["items"]] == ["postgres", "endpoint"]
        bad = smos(tmp_path, "health", **env | {"SMOS_DEPLOY_HEALTH_URL": f"{address}/broken"})
        assert bad.returncode == 1
        assert "status 500" in bad.stdout
        assert "\x1b" not in bad.stdout
        own = [
            item
            for item in read_embedded(server_root(server))
            if item.socket.startswith(server.endpoint.host)
        ]
        assert [(item.kind, judge_embedded(item).verdict) for item in own] == [("PostgreSQL", Verdict.PASS)]
    with silent_address() as nobody:
        silent = smos(tmp_path, "health", "--json", SMOS_VAULT_ADDRESS=nobody, **env)
    document = json.loads(silent.stdout)
    assert silent.returncode == 4
    assert {item["verdict"] for item in document["items"]} == {"NOT_PROVEN", "PASS"}


def server_root(server: EmbeddedPostgres) -> Path:
    return Path(server.endpoint.host).parent.parent


def test_watching_ends_with_ctrl_c(tmp_path: Path, address: str) -> None:
    env = os.environ | {
        "SMOS_HOME": str(tmp_path),
        "SMOS_KEYRING": "off",
        "SMOS_HEALTH_URLS": f"{address}/ok",
    }
    process = subprocess.Popen(
        [SMOS, "health", "--watch", "--every", "1", "--json"], env=env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as lines:
        seen = [json.loads(next(lines)) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        lines.read()
    assert process.wait(LONG_S) == 130
    assert [item["verdict"] for item in seen] == ["PASS", "PASS"]


# --- the engine -------------------------------------------------------------------------------------------------------


def test_where_no_engine_answers_the_code_is_4(tmp_path: Path) -> None:
    pytest.importorskip("docker", reason="needs the extra `docker`")
    host = f"unix://{tmp_path}/no.sock"
    done = smos(tmp_path, "services", "list", "--json", SMOS_DOCKER_HOST=host)
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "unreachable"


def test_the_front_end_needs_its_tool_and_its_address_must_answer(tmp_path: Path, address: str) -> None:
    front = tmp_path / "front"
    front.mkdir()
    (front / "package.json").write_text("{}")
    env = {"SMOS_DEPLOY_FRONTEND": str(front), "PATH": str(tmp_path)}
    missing = smos(tmp_path, "deploy", "frontend", "--yes", **env)
    assert missing.returncode == 1
    assert "Vercel CLI is not installed" in missing.stderr
    tool = tmp_path / "vercel"
    tool.write_text(f"#!/bin/sh\necho {address.replace('http:', 'https:')}/\n")
    tool.chmod(0o755)
    assert smos(tmp_path, "deploy", "frontend", **env).returncode == 5
    done = smos(tmp_path, "deploy", "frontend", "--yes", **env)  # the address speaks no TLS: it does not work
    assert done.returncode == 1
    assert "does not work" in done.stderr


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    pytest.importorskip("docker", reason="needs the extra `docker`")
    try:
        find_compose()
        with engine(None) as found:
            yield found
    except (UnreachableError, ProvisionError) as error:
        pytest.skip(f"needs a container engine and Compose: {error.message}")


@pytest.fixture(scope="module")
def images(client: Any) -> Iterator[tuple[str, str]]:
    """Two images of /bin/sh: one in which /ok is there, and one in which it is not."""
    name = f"smos-test-{uuid.uuid4().hex[:8]}"
    made = []
    for tag, files in (("good", {"ok": b""}), ("bad", {"not-ok": b""})):
        made.append(client.images.get(import_image(client, f"{name}:{tag}", files)).id)
    yield name, made[0]
    for image in client.images.list(name=name):
        client.images.remove(image.id, force=True)


def import_image(client: Any, tag: str, files: dict[str, bytes]) -> str:
    programs = [Path(shutil.which(name) or "") for name in ("sh", "sleep", "cat")]
    linked = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    needed = {Path(word) for word in linked.split() if word.startswith("/") and not word.endswith(":")}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in programs:
            archive.add(path.resolve(), f"bin/{path.name}")
        for path in sorted(needed):
            archive.add(path.resolve(), str(path).lstrip("/"))
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    repository, _, label = tag.partition(":")
    client.api.import_image_from_data(buffer.getvalue(), repository=repository, tag=label)
    return tag


@pytest.fixture
def stack(client: Any, images: tuple[str, str], tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Yield a compose file whose image is `…:now`, and its project."""
    name, _ = images
    project = f"smostest{uuid.uuid4().hex[:8]}"
    file = tmp_path / "compose.yml"
    check = {"test": ["CMD", "/bin/sh", "-c", "read x < /ok || [ -e /ok ]"], "interval": "1s", "retries": 2}
    service = {
        "image": f"{name}:now", "command": ["/bin/sh", "-c", "echo started; exec sleep 600"], "healthcheck": check,
        "restart": "always", "init": True,
    }  # fmt: skip
    file.write_text(json.dumps({"services": {"web": service}}))
    client.images.get(f"{name}:good").tag(name, "now")
    yield file, project
    for item in client.containers.list(all=True, filters={"label": f"com.docker.compose.project={project}"}):
        item.remove(force=True, v=True)
    for network in client.networks.list(filters={"label": f"com.docker.compose.project={project}"}):
        network.remove()


def test_a_deployment_that_does_not_work_goes_back_to_the_image_before(
    client: Any, images: tuple[str, str], stack: tuple[Path, str], tmp_path: Path
) -> None:
    (name, good), (file, project) = images, stack
    words = ("deploy", "backend", "--file", str(file), "--project", project, "--no-pull", "--json")
    planned = json.loads(smos(tmp_path, *words, "--dry-run").stdout)
    assert not client.containers.list(all=True, filters={"label": f"com.docker.compose.project={project}"})
    assert smos(tmp_path, *words).returncode == 5
    first = smos(tmp_path, *words, "--yes")
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert (document["steps"], document["after"]) == (planned["steps"], {"web": good})
    client.images.get(f"{name}:bad").tag(name, "now")
    second = smos(tmp_path, *words, "--yes")
    assert second.returncode == 1, second.stderr
    assert "run again, shown to work" in json.loads(second.stdout)["error"]["message"]
    (running,) = client.containers.list(filters={"label": f"com.docker.compose.project={project}"})
    assert running.image.id == good
    check_services(tmp_path, project)
    # What the plan does not name is left alone: a service that has left the compose file.
    client.images.get(f"{name}:good").tag(name, "now")
    file.write_text(file.read_text().replace('"web"', '"other"'))
    third = smos(tmp_path, *words, "--yes")
    assert third.returncode == 0, third.stderr
    assert json.loads(third.stdout)["orphans"] == ["web"]
    running.reload()
    assert running.status == "running"


def test_the_back_end_may_be_in_a_docker_context(
    client: Any, stack: tuple[Path, str], tmp_path: Path
) -> None:
    file, project = stack
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"prod").hexdigest()
    folder.mkdir(parents=True)
    docker = {"Host": client.api.base_url.replace("http+docker://localhost", "unix:///var/run/docker.sock")}
    (folder / "meta.json").write_text(json.dumps({"Name": "prod", "Endpoints": {"docker": docker}}))
    words = (
        "deploy",
        "backend",
        "--file",
        str(file),
        "--project",
        project,
        "--no-pull",
        "--json",
        "--dry-run",
    )
    there = smos(tmp_path, *words, "--context", "prod", DOCKER_CONFIG=str(tmp_path))
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout)["before"] == {"web": ""}
    nowhere = smos(tmp_path, *words, "--context", "nosuch", DOCKER_CONFIG=str(tmp_path))
    assert nowhere.returncode == 2
    assert "nosuch" in json.loads(nowhere.stdout)["error"]["message"]


def check_services(home: Path, project: str) -> None:
    """List, judge, read and restart the service that runs."""
    listed = json.loads(smos(home, "services", "list", "--project", project, "--json").stdout)
    assert [(item["service"], item["status"]) for item in listed] == [("web", "running")]
    assert smos(home, "services", "status", "--project", project).returncode == 0
    said = smos(home, "services", "logs", "web", "--project", project)
    assert said.stdout == "started\n"
    assert smos(home, "services", "logs", "nosuch", "--project", project).returncode == 2
    assert smos(home, "services", "restart", "web", "--project", project).returncode == 5
    again = smos(home, "services", "restart", "web", "--project", project, "--yes", "--json")
    assert again.returncode == 0, again.stderr
    assert smos(home, "services", "logs", "web", "--project", project).stdout == "started\n" * 2


def test_a_first_deployment_that_does_not_work_leaves_nothing(
    client: Any, images: tuple[str, str], stack: tuple[Path, str], tmp_path: Path
) -> None:
    file, project = stack
    client.images.get(f"{images[0]}:bad").tag(images[0], "now")
    done = smos(
        tmp_path, "deploy", "backend", "--file", str(file), "--project", project, "--no-pull", "--yes"
    )
    assert done.returncode == 1
    assert "what was started is removed" in done.stderr
    assert not client.containers.list(all=True, filters={"label": f"com.docker.compose.project={project}"})
