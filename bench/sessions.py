"""`python -m bench.sessions [NAME …]`: run the commands on real servers and write what was seen to docs/terminal/.

Everything runs on servers of its own, on a terminal of 110 columns without colours. Only paths and addresses of the
scratch directories are replaced (`/backups`, `/run/postgresql`, …), and nothing else of what was printed.
"""

import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import psycopg
from ruamel.yaml import YAML

from smos.clock import SystemClock
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.selftest.source import start_source
from smos.vault.bootstrap import wait_until_active

PLACE = Path(__file__).resolve().parent.parent / "docs" / "terminal"
SMOS = Path(sys.executable).with_name("smos")
COLUMNS = 110
LONG_S = 900
"""Against a hang only."""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_WIDE = re.compile(r" +$", re.MULTILINE)


@dataclass(slots=True)
class Stage:
    """Where a session plays. names: what stands for a scratch path or address. env: of the commands."""

    root: Path
    names: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    links: list[Path] = field(default_factory=list)

    def link(self, target: Path | str, place: str, name: str) -> str:
        """Give a place a short name, as long as the one that it is shown by: lines break alike."""
        Path(place).symlink_to(target)
        self.links.append(Path(place))
        self.names |= {place: name, quote(place, safe=""): quote(name, safe="")}
        return place

    def show(self, text: str) -> str:
        """Return a text with neutral names, without what a terminal alone needs."""
        text = _ANSI.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        for path, name in sorted(self.names.items(), key=lambda item: -len(item[0])):
            text = text.replace(path, name)
        return _WIDE.sub("", text).strip("\n")

    def run(
        self, words: Sequence[str], answers: Sequence[str] = (), text: str | None = None
    ) -> tuple[str, int]:
        """Run a command on a terminal, answer what it asks, and return what was seen."""
        command = [str(SMOS) if words[0] == "smos" else words[0], *words[1:]]
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("SMOS_", "VAULT_", "BAO_", "LC_", "PG"))
        }
        env = (
            clean | {"NO_COLOR": "1", "TERM": "xterm", "LANG": "C.UTF-8", "COLUMNS": str(COLUMNS)} | self.env
        )
        main, side = pty.openpty()
        ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        process = subprocess.Popen(
            command, env=env, cwd=self.root, stdin=subprocess.PIPE if text is not None else side,
            stdout=side, stderr=side,
            start_new_session=True,
        )  # fmt: skip
        os.close(side)
        if text is not None and process.stdin is not None:
            process.stdin.write(text.encode())
            process.stdin.close()
        seen, waiting = b"", list(answers)
        try:
            while block := os.read(main, 65536):
                seen += block
                if waiting and seen.rstrip().endswith((b"]", b":")):
                    os.write(main, waiting.pop(0).encode() + b"\n")
        except OSError:  # how a terminal says that nobody is left
            pass
        os.close(main)
        return seen.decode(errors="replace"), process.wait(LONG_S)


Line = tuple[Sequence[str], Sequence[str], str | None] | Callable[[], None]
"""A command with answers and input; or something that happens in between."""


def line(text: str, *answers: str, stdin: str | None = None) -> Line:
    """Return a command, written as in a shell (no quotes)."""
    return text.split(), answers, stdin


def write(name: str, title: str, about: str, stage: Stage, lines: Sequence[Line]) -> None:
    """Play a session and write its page."""
    parts = []
    for item in lines:
        if callable(item):
            item()
            continue
        words, answers, stdin = item
        output, code = stage.run(words, answers, stdin)
        shown = stage.show(" ".join(words))
        lead = "" if stdin is None else f"printf {'*' * 8} | "
        end = "" if code == 0 else f"\n$ echo $?\n{code}"
        parts.append(f"$ {lead}{shown}\n{stage.show(output)}".rstrip() + end)
    PLACE.mkdir(parents=True, exist_ok=True)
    body = "\n\n".join(parts)
    (PLACE / f"{name}.md").write_text(f"# {title}\n\n{about}\n\n```console\n{body}\n```\n", encoding="utf-8")
    sys.stderr.write(f"{name}\n")


def main(wanted: Sequence[str]) -> None:
    """Play the sessions that are named, or all."""
    scenes = {
        "config": _config, "backup": _backup, "health": _health, "vault": _vault, "tenants": _vault, "mcp": _vault,
        "demo": _demo, "rls": _demo, "version": _version, "drill": _drill, "evidence": _drill, "notify": _drill,
        "services": _services, "deploy": _services,
    }  # fmt: skip
    chosen = list(dict.fromkeys(scenes[name] for name in wanted or scenes))
    for scene in chosen:
        with Owner("sessions") as owner:
            root = owner.directory("work")
            stage = Stage(root, {str(root): "~", str(owner.run_dir): "/scratch", sys.prefix: "/opt/smos"})
            stage.env = {"SMOS_HOME": str(root / ".smos"), "SMOS_KEYRING": "off", "HOME": str(root)}
            try:
                scene(owner, stage)
            finally:
                shutil.rmtree("/tmp/bkp-safety", ignore_errors=True)  # noqa: S108  (beside the link to the backups)
                for link in stage.links:
                    link.unlink()
    _index()


def _index() -> None:
    pages = sorted(path for path in PLACE.glob("*.md") if path.name != "README.md")
    rows = [
        f"- [{path.stem}]({path.name}): {path.read_text(encoding='utf-8').splitlines()[0][2:]}"
        for path in pages
    ]
    text = (
        "# Terminal sessions\n\nWhat was seen on real servers, by `python -m bench.sessions`; paths and addresses of"
        " its scratch\ndirectories are replaced, nothing else.\n\n" + "\n".join(rows) + "\n"
    )
    (PLACE / "README.md").write_text(text, encoding="utf-8")


def _config(_owner: Owner, stage: Stage) -> None:
    write("config", "smos init, smos config", "A secret is asked for, never an argument.", stage, [
        line("smos init"),
        line("smos config set vault.address https://vault.example.com"),
        line("smos config set vault.token", "s.not-a-real-token"),
        line("smos config get vault.token"),
        line("smos config set vault.token s.abcdef"),
        line("smos config get vault.adress"),
        line("smos --lang es config get vault.adress"),
        line("smos config list"),
    ])  # fmt: skip


def _backup(owner: Owner, stage: Stage) -> None:
    source = start_source(owner, SystemClock(), lambda _text: None)
    target = source.target
    directory: object = target.backups.directory
    escrow: object = target.vault and target.vault.escrow
    live = stage.root / "srv" / "n8n"
    live.mkdir(parents=True)
    host = source.postgres.endpoint.host
    host = stage.link(host, "/tmp/pgsql", "/run/pgsql")  # noqa: S108
    directory = stage.link(str(directory), "/tmp/bkp", "/backups")  # noqa: S108
    escrow = stage.link(str(escrow), "/tmp/keys.json", "/secure/k.json")  # noqa: S108
    stage.link(live.parent, "/tmp/srv", "/var/srv")  # noqa: S108
    live = Path("/tmp/srv/n8n")  # noqa: S108

    def lose() -> None:
        with psycopg.connect(source.postgres.endpoint.conninfo("n8n"), autocommit=True) as connection:
            rows = connection.execute(
                "SELECT schemaname, relname FROM pg_stat_user_tables ORDER BY 2"
            ).fetchall()
            connection.execute(f'DROP TABLE "{rows[0][0]}"."{rows[0][1]}" CASCADE')

    declared = target.model_dump(mode="json", by_alias=True, exclude_unset=True)
    declared["backups"]["directory"], declared["vault"]["escrow"] = str(directory), str(escrow)
    YAML(typ="safe").dump(declared, stage.root / "smos.yml")
    words = f"smos backup restore --backups {directory} --escrow {escrow} --host {host} --database n8n"
    about = "An encrypted set, opened with the escrow; a table of `n8n` was dropped before the restore."
    write("backup", "smos backup", about, stage, [
        line(f"smos heartbeat install n8n --host {host}"),
        line(f"smos heartbeat beat n8n --host {host}"),
        line("smos backup verify --quiet"),
        line("smos backup list"),
        lose,
        line(f"{words} --dry-run"),
        line(f"{words} --volume n8n_data={live} --keep-old", "n"),
        line(f"{words} --volume n8n_data={live} --keep-old", "y"),
        line(f"smos backup prune --backups {directory} --keep-days 4", "y"),
        line(f"smos --lang es backup prune --backups {directory} --keep-days 4 --dry-run"),
    ])  # fmt: skip


def _health(owner: Owner, stage: Stage) -> None:
    server = EmbeddedPostgres(owner, name="live", memory=True)
    vault = EmbeddedOpenBao(owner, name="vault", audit=False)
    server.start()
    vault.start()
    stage.env |= _addresses(stage, server, vault)
    about = "PostgreSQL answers; Vault was never initialised, then it is sealed; at last both are stopped."

    def seal() -> None:
        client = vault.endpoint.client()
        client.sys.initialize(secret_shares=1, secret_threshold=1)
        client.adapter.close()

    def stop() -> None:
        server.stop()
        vault.stop()

    write("health", "smos health", about, stage, [
        line("smos health"), seal, line("smos health"), stop, line("smos health"), line("smos --lang es health"),
    ])  # fmt: skip


def _addresses(stage: Stage, server: EmbeddedPostgres, vault: EmbeddedOpenBao) -> dict[str, str]:
    """Return the environment in which the commands find both servers, by short names."""
    host = stage.link(server.endpoint.host, "/tmp/pgsql", "/run/pgsql")  # noqa: S108
    socket = Path(unquote(urlsplit(vault.endpoint.url).netloc))
    place = stage.link(socket.parent, "/tmp/vault", "/run/vault")  # noqa: S108
    return {
        "SMOS_POSTGRES_DSN": f"host={host} port={server.endpoint.port} dbname=postgres user=postgres",
        "SMOS_VAULT_ADDRESS": f"http+unix://{quote(f'{place}/{socket.name}', safe='')}",
    }


def _vault(owner: Owner, stage: Stage) -> None:
    server = EmbeddedPostgres(owner, name="live", memory=True)
    vault = EmbeddedOpenBao(owner, name="vault", audit=False)
    server.start()
    vault.start()
    client = vault.endpoint.client()
    answer = client.sys.initialize(secret_shares=1, secret_threshold=1)
    client.sys.submit_unseal_key(answer["keys_base64"][0])
    wait_until_active(client)
    client.token = answer["root_token"]
    client.sys.enable_secrets_engine("kv", path="smarteros", options={"version": "2"})
    client.sys.enable_secrets_engine("transit")
    client.sys.enable_auth_method("approle")
    client.secrets.transit.create_key("smarteros-secrets")
    client.adapter.close()
    stage.env |= _addresses(stage, server, vault) | {"SMOS_VAULT_TOKEN": answer["root_token"]}
    write("vault", "smos vault", "Values come from a prompt or stdin, and are masked.", stage, [
        line("smos vault status"),
        line("smos vault write mcp/github token", "ghp_not-a-real-token"),
        line("smos vault write mcp/github org", "smarterbot"),
        line("smos vault list"),
        line("smos vault read mcp/github"),
        line("smos vault rotate"),
        line("smos vault read mcp/nosuch"),
    ])  # fmt: skip
    write("tenants", "smos tenants", "A row in PostgreSQL; path, policy and login in Vault: together or not at all.",
          stage, [
        line("smos tenants create panaderia --name Panadería --rut 76.543.210-4"),
        line("smos tenants create panaderia --name Panadería --rut 76.543.210-3 --dry-run"),
        line("smos tenants create panaderia --name Panadería --rut 76.543.210-3"),
        line("smos tenants list"),
        line("smos tenants info panaderia"),
        line("smos tenants suspend panaderia", "y"),
        line("smos tenants delete panaderia", "n"),
    ])  # fmt: skip
    write("mcp", "smos mcp", "One provider has no credentials, one has a token that is none.", stage, [
        line("smos mcp list"), line("smos mcp test github slack"),
    ])  # fmt: skip


def _demo(owner: Owner, stage: Stage) -> None:
    server = EmbeddedPostgres(owner, name="demo", memory=True)
    server.start()
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE demo")
    host = stage.link(server.endpoint.host, "/tmp/pgsql", "/run/pgsql")  # noqa: S108
    where = f"--host {host} --port {server.endpoint.port}"
    write("demo", "smos demo", "Schema, seed and clean-up on a PostgreSQL 18.", stage, [
        line(f"smos demo load {where}"),
        line(f"smos demo seed {where} --user postgres --tenants 3 --rows 500"),
        line(f"smos demo cleanup {where} --user postgres --now 2027-06-01T00:00:00Z"),
    ])  # fmt: skip
    stage.env |= {
        "PGHOST": host,
        "PGPORT": str(server.endpoint.port),
        "PGUSER": "postgres",
        "PGDATABASE": "demo",
    }
    write(
        "rls", "smos rls", "The demo's own database, probed as every role of it.", stage, [line("smos rls")]
    )


def _version(_owner: Owner, stage: Stage) -> None:
    write("version", "smos version, smos doctor", "What is talked to, and what could be proven here.", stage, [
        line("smos version"), line("smos version --all"), line("smos doctor"),
    ])  # fmt: skip


def _drill(_owner: Owner, stage: Stage) -> None:
    write("drill", "smos drill", "The built-in self-test: a source is saved, lost, recovered and compared.", stage, [
        line("smos drill --quiet"),
    ])  # fmt: skip
    write("evidence", "smos evidence", "What the drill left, signed and verified offline.", stage, [
        line("smos evidence keygen signing.pem signing.pub"),
        line("smos evidence sign --key signing.pem"),
        line("smos evidence verify reports --key signing.pub"),
    ])  # fmt: skip
    write("notify", "smos notify", "What Slack would be told of that drill.", stage, [
        line("smos notify slack --dry-run"),
    ])  # fmt: skip


def _services(owner: Owner, stage: Stage) -> None:
    """Play on the engine that answers here, with images of /bin/sh; passed over where none does."""
    from smos.errors import SmosError
    from smos.services.engine import engine
    from tests.test_cli_services import import_image

    del owner
    name, project = "smos-session", "smarter"
    check = {"test": ["CMD", "/bin/sh", "-c", "[ -e /ok ]"], "interval": "1s", "retries": 2}
    service = {
        "image": f"{name}:now", "command": ["/bin/sh", "-c", "echo listening; exec sleep 600"], "healthcheck": check,
        "restart": "always", "init": True,
    }  # fmt: skip
    import json

    try:
        with engine(None) as client:
            for tag, files in (("good", {"ok": b""}), ("bad", {"no": b""})):
                import_image(client, f"{name}:{tag}", files)
            client.images.get(f"{name}:good").tag(name, "now")
            (stage.root / "compose.yml").write_text(
                json.dumps({"services": {"odoo": service}}), encoding="utf-8"
            )

            def release() -> None:
                client.images.get(f"{name}:bad").tag(name, "now")

            words = f"smos deploy backend --file compose.yml --project {project} --no-pull --gate 60"
            try:
                write("deploy", "smos deploy", "The second image is broken: its health check fails.", stage, [
                    line(f"{words} --dry-run"), line(words, "y"), release, line(words, "y"),
                ])  # fmt: skip
                write("services", "smos services", "The stack that was deployed.", stage, [
                    line("smos services list"), line("smos services status"), line("smos services logs odoo"),
                    line("smos services restart odoo", "y"), line("smos services status nosuch"),
                    line("smos --lang es services status"),
                ])  # fmt: skip
            finally:
                for item in client.containers.list(
                    all=True, filters={"label": f"com.docker.compose.project={project}"}
                ):
                    item.remove(force=True, v=True)
                for network in client.networks.list(
                    filters={"label": f"com.docker.compose.project={project}"}
                ):
                    network.remove()
                for image in client.images.list(name=name):
                    client.images.remove(image.id, force=True)
    except SmosError as error:
        sys.stderr.write(f"services, deploy: not played: {error.message}\n")


def scenes() -> Iterator[str]:
    """Yield the names of the pages that are kept."""
    yield from sorted(path.stem for path in PLACE.glob("*.md") if path.name != "README.md")


if __name__ == "__main__":
    if not SMOS.is_file() and shutil.which("smos") is None:
        sys.exit("install the package first: make setup")
    main(sys.argv[1:])
