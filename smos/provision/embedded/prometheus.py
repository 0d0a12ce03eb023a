"""A real Prometheus and a real Alertmanager with the shipped rules, so that an alert is seen to arrive.

Both take the shipped files; only addresses, places and waiting times are replaced, in a copy.
"""

import re
import signal
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from smos.errors import ProvisionError
from smos.paths import compose_dir
from smos.provision.embedded.debian import fetch_program
from smos.provision.embedded.golang import LDFLAGS, build, find_built, run_go
from smos.provision.embedded.httpserver import HttpServer, Launch
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.provision.relocate import reachable_program
from smos.provision.telemetry import AlertmanagerEndpoint, PrometheusEndpoint

TEST_S = 60
QUICK = "1s"
"""Interval of scrapes, and how long alerts are gathered, where a suite can't wait minutes."""
EVALUATED = "250ms"
"""Interval of evaluations there."""

ALERTMANAGER = "github.com/prometheus/alertmanager/cmd/alertmanager@v0.28.1"
"""As in ../observability.yml; the newest whose module holds its web pages, without which it can't be built.
Debian's 0.25 reads no webhook from a file, and looks for its templates where only an installation puts them."""


def find_alertmanager() -> Path | None:
    """Return the Alertmanager that was built here, or None."""
    return find_built("alertmanager", "alertmanager", ALERTMANAGER)


def build_alertmanager() -> Path:
    """Return Alertmanager, built now (about a minute) where it was not. Raises ProvisionError."""

    def make(go: str, content: Path) -> None:
        run_go(
            [go, "install", f"-ldflags={LDFLAGS}", ALERTMANAGER], place=content, env={"GOBIN": str(content)}
        )

    return build("alertmanager", "alertmanager", ALERTMANAGER, make)


def require_alertmanager() -> Path:
    """Return the built Alertmanager. Raises ProvisionError that says how to build it."""
    found = find_alertmanager()
    if found is None:
        raise ProvisionError(
            "Alertmanager is not built, so no alert can be seen to arrive", remedy="make observability-deps"
        )
    return found


def shipped(name: str) -> Path:
    """Return one of the shipped files."""
    return compose_dir() / "observability" / name


class EmbeddedAlertmanager(HttpServer):
    """One Alertmanager that posts every alert to `webhook` (a URL on this machine).

    hasten: without the waiting times that gather alerts into one message.
    """

    make = "Alertmanager"

    def __init__(
        self,
        owner: Owner,
        webhook: str,
        *,
        name: str = "alertmanager",
        config: Path | None = None,
        hasten: bool = True,
    ) -> None:
        super().__init__(owner, name=name)
        self._program = self._find_program()
        self._webhook = webhook
        self._hasten = hasten
        self._config = config or shipped("alertmanager.yml")
        self._port = PortClaim()
        self._data = owner.directory(f"{name}-data")

    @property
    def endpoint(self) -> AlertmanagerEndpoint:
        """Where its API is."""
        return AlertmanagerEndpoint(url=f"http://{self._port.address}", address=self._port.address)

    def _launch(self) -> Launch:
        config = self._etc / "alertmanager.yml"
        hook = self._etc / "webhook_url"
        self._owner.write(hook, self._reached(self._webhook))
        given = _loaded(self._config)
        if self._hasten:
            given["route"] |= {"group_wait": "0s", "group_interval": QUICK}
        for receiver in given["receivers"]:
            for one in receiver["webhook_configs"]:
                one["url_file"] = str(hook)
        self._owner.write(config, _dumped(given))
        return Launch(
            argv=[
                self._program,
                f"--config.file={config}",
                f"--storage.path={self._data}",
                f"--web.listen-address={self._bound(self._port)}",
                "--cluster.listen-address=",  # no peers, so no second port
            ]
        )

    def _find_program(self) -> Path:
        return reachable_program(require_alertmanager(), self._owner.user)

    def _ready_url(self) -> str:
        return f"{self.endpoint.url}/-/ready"


class EmbeddedPrometheus(HttpServer):
    """One Prometheus with the shipped jobs and rules.

    targets: for each job of the shipped prometheus.yml the `host:port`s to scrape; the other jobs are left out.
    token: what the job vault shows. paths: for some jobs another path than the shipped one. hasten: evaluate several
    times a second, and let every condition fire at once.
    """

    make = "Prometheus"

    def __init__(
        self,
        owner: Owner,
        targets: Mapping[str, Sequence[str]],
        *,
        name: str = "prometheus",
        alertmanager: AlertmanagerEndpoint | None = None,
        token: str = "",
        rules: Path | None = None,
        paths: Mapping[str, str] | None = None,
        hasten: bool = True,
    ) -> None:
        super().__init__(owner, name=name)
        self._program = self._find_program()
        self._targets = {job: list(places) for job, places in targets.items()}
        self._alertmanager = alertmanager
        self._token = token
        self._paths = dict(paths or {})
        self._rules = rules or shipped("prometheus-rules.yml")
        self._hasten = hasten
        self._port = PortClaim()
        self._data = owner.directory(f"{name}-data")

    @property
    def endpoint(self) -> PrometheusEndpoint:
        """Where its API is."""
        return PrometheusEndpoint(url=f"http://{self._port.address}")

    def reload(self) -> None:
        """Write its configuration anew and let it read it."""
        self._configure()
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def _configure(self) -> Path:
        rules = _loaded(self._rules)
        given = _loaded(shipped("prometheus.yml"))
        if self._hasten:
            given["global"] = {**dict.fromkeys(given["global"], QUICK), "evaluation_interval": EVALUATED}
            for group in rules["groups"]:
                for rule in group["rules"]:
                    rule.pop("for", None)
        token = self._etc / "vault-token"
        self._owner.write(token, self._token)
        self._owner.write(self._etc / "rules.yml", _dumped(rules))
        given["rule_files"] = [str(self._etc / "rules.yml")]
        jobs = [job for job in given["scrape_configs"] if job["job_name"] in self._targets]
        for job in jobs:
            job.pop("file_sd_configs", None)
            if job["job_name"] in self._paths:
                job["metrics_path"] = self._paths[job["job_name"]]
            job["static_configs"] = [
                {"targets": [self._reached(place) for place in self._targets[job["job_name"]]]}
            ]
            if "authorization" in job:
                job["authorization"]["credentials_file"] = str(token)
        given["scrape_configs"] = jobs
        if self._alertmanager is None:
            given.pop("alerting", None)
        else:
            given["alerting"] = {
                "alertmanagers": [
                    {"static_configs": [{"targets": [self._reached(self._alertmanager.address)]}]}
                ]
            }
        config = self._etc / "prometheus.yml"
        self._owner.write(config, _dumped(given))
        return config

    def _launch(self) -> Launch:
        return Launch(
            argv=[
                self._program,
                f"--config.file={self._configure()}",
                f"--storage.tsdb.path={self._data}",
                f"--web.listen-address={self._bound(self._port)}",
                "--log.level=warn",
                *([f"--scrape.discovery-reload-interval={EVALUATED}"] if self._hasten else []),
            ]
        )

    def _find_program(self) -> Path:
        return reachable_program(fetch_program("prometheus", ("prometheus",)), self._owner.user)

    def _ready_url(self) -> str:
        return f"{self.endpoint.url}/-/ready"


def check_rules(owner: Owner, tests: Path | None = None, rules: Path | None = None) -> str:
    """Run `promtool test rules` on the shipped tests and return what it says. Raises ProvisionError."""
    rules = rules or shipped("prometheus-rules.yml")
    fetch_program("prometheus", ("prometheus",))
    tool = reachable_program(fetch_program("prometheus", ("promtool",)), owner.user)
    place = owner.directory("promtool", read_only=True)
    for path in (tests or shipped("prometheus-rules.test.yml"), rules):
        owner.write(place / path.name, path.read_text(encoding="utf-8"))
    name = (tests or shipped("prometheus-rules.test.yml")).name
    scratch = owner.directory("promtool-tmp")  # it keeps its time series there
    done = owner.run([tool, "test", "rules", name], timeout_s=TEST_S, cwd=place, env={"TMPDIR": str(scratch)})
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _loaded(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def _dumped(content: Any) -> str:
    out = StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.width = 1000
    yaml.dump(content, out)
    return re.sub(r"\n\n+", "\n", out.getvalue())
