"""Bugsink: a small server that speaks Sentry's protocol, so that an event is read back from where the SDK sent it.

It runs from a folder of its own (see pythonenv) on SQLite, and does its work within the request. The migrated
empty database is kept, because making it takes some seconds.
"""

import json
import secrets
import shutil
import sqlite3
import sys
from pathlib import Path

import httpx

from smos.errors import ProvisionError
from smos.http import trust
from smos.provision.cache import cached
from smos.provision.embedded.httpserver import HttpServer, Launch
from smos.provision.embedded.pythonenv import find_packages
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.provision.relocate import reachable_python
from smos.provision.telemetry import SentryEndpoint

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "bugsink-requirements.txt"
APP = HERE / "bugsinkapp"
MIGRATE_S = 180
BOOT = "import sys; sys.path[:0] = sys.argv[1].split(':'); sys.argv = sys.argv[2:]; "
SERVE = BOOT + "from gunicorn.app.wsgiapp import run; run(prog='gunicorn')"
MANAGE = BOOT + "from bugsink.scripts.manage import main; main()"
API = "/api/canonical/0"


def packages() -> Path:
    """Return the folder with Bugsink, installed now where it was not. Raises ProvisionError."""
    return find_packages("bugsink", REQUIREMENTS)


def prepare() -> Path:
    """Install Bugsink and migrate an empty database where that was not done. Raises ProvisionError."""
    place = packages()
    with Owner("prepare bugsink") as owner:
        EmbeddedBugsink(owner).fill()
    return place


class EmbeddedBugsink(HttpServer):
    """One Bugsink with one project. days: how many days it keeps events."""

    make = "Bugsink"

    def __init__(self, owner: Owner, *, name: str = "bugsink", days: int = 3) -> None:
        super().__init__(owner, name=name)
        self._packages = self._find_packages()
        self._port = PortClaim()
        self._data = owner.directory(f"{name}-data")
        self._token = secrets.token_hex(20)
        self._secret = secrets.token_urlsafe(48)
        self._days = days
        self._python = reachable_python(owner.user)
        self._dsn = ""
        self._project = 0

    @property
    def endpoint(self) -> SentryEndpoint:
        """Where it is reached; known when it has started once."""
        if not self._dsn:
            raise ProvisionError("Bugsink has not been started", remedy="start it first")
        return SentryEndpoint(
            url=f"http://{self._port.address}", dsn=self._dsn, project_id=self._project, token=self._token
        )

    def start(self, timeout_s: float = 180) -> None:
        """Start it; ready means that its API knows the project."""
        if not (self._data / "db.sqlite3").is_file():
            self.fill()
        super().start(timeout_s)
        with httpx.Client(trust_env=False, verify=trust()) as client:
            answer = client.get(
                f"http://{self._port.address}{API}/projects/",
                headers={"Authorization": f"Bearer {self._token}"},
            )
        if answer.status_code != httpx.codes.OK or not answer.json()["results"]:
            raise ProvisionError(
                f"Bugsink {self.name} does not know its project (status {answer.status_code})",
                remedy="the reason is in the log below",
                log=self.logs()[-2000:],
            )
        project = answer.json()["results"][0]
        self._dsn, self._project = project["dsn"], int(project["id"])

    def fill(self) -> None:
        """Copy the migrated empty database, made by Bugsink itself where it isn't in the cache."""

        def make(content: Path) -> None:
            fresh = self._owner.directory("bugsink-template")
            self._configure(fresh)
            for database in ("default", "snappea"):
                self._manage(fresh, "migrate", "--no-input", f"--database={database}")
            for path in fresh.glob("*.sqlite3"):
                with sqlite3.connect(path) as source, sqlite3.connect(content / path.name) as target:
                    source.backup(target)
                source.close()
                target.close()
                (content / path.name).chmod(0o644)

        template = cached("bugsink-database", self._made_by(), make)
        for path in template.glob("*.sqlite3"):
            shutil.copyfile(path, self._data / path.name)
            self._owner.give(self._data / path.name)

    def _find_packages(self) -> Path:
        return packages()

    def _made_by(self) -> str:
        """Return what the migrated database depends on."""
        return str(self._packages)

    def _manage(self, data: Path, *words: str) -> None:  # noqa: ARG002  (a container must be given it)
        """Run a command of Bugsink's on the database in `data`. Raises ProvisionError."""
        self._owner.run(
            self._command(MANAGE, *words),
            timeout_s=MIGRATE_S,
            env=self._env(),
            cwd=self._work,
            as_service_user=self._python is not None,
        )

    def _configure(self, data: Path) -> None:
        code = self._etc / "bugsinkapp"
        if not code.is_dir():
            shutil.copytree(APP, code, ignore=shutil.ignore_patterns("__pycache__"))
            for path in (code, *code.iterdir()):
                path.chmod(0o755 if path.is_dir() else 0o644)
        given = {
            "secret_key": self._secret,
            "token": self._token,
            "data": str(data),
            "url": f"http://{self._port.address}",
            "days": self._days,
        }
        self._owner.write(self._etc / "bugsink.json", json.dumps(given))

    def _command(self, boot: str, *words: str) -> list[str | Path]:
        return [
            self._python or sys.executable,
            "-I",
            "-S",
            "-B",
            "-c",
            boot,
            f"{self._etc}:{self._packages}",
            "bugsink",
            *words,
        ]

    def _env(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "bugsinkapp.settings",
            "SMOS_BUGSINK": str(self._etc / "bugsink.json"),
            "HOME": str(self._work),
            "TMPDIR": str(self._work),
        }

    def _launch(self) -> Launch:
        self._configure(self._data)
        return Launch(
            argv=self._command(
                SERVE,
                f"--bind={self._bound(self._port)}",
                "--workers=1",
                "--threads=4",
                "--no-control-socket",
                "--graceful-timeout=5",
                "bugsinkapp.wsgi:application",
            ),
            env=self._env(),
            as_service_user=self._python is not None,
        )

    def _ready_url(self) -> str:
        return f"http://{self._port.address}/health/ready"
