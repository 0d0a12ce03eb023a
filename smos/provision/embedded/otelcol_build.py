"""Builds the OpenTelemetry Collector from the shipped manifest, once for each manifest and Go version.

The official builder writes a small program that names exactly the manifest's components; Go compiles it. That
takes some five minutes on two cores, so the program is kept in the cache, and one process builds while others
wait. It needs Go and a module proxy; nothing else is downloaded.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout
from ruamel.yaml import YAML

from smos.errors import ProvisionError
from smos.paths import cache_dir, compose_dir
from smos.provision.cache import cached

BUILD_S = 2400
"""Seconds that a build may take, and that others wait for it."""
ASK_S = 20
PROGRAM = "otelcol"
BUILDER = "go.opentelemetry.io/collector/cmd/builder"
REMEDY = "install Go (https://go.dev/dl) and run: make otelcol"


def manifest() -> Path:
    """Return the builder's manifest."""
    return compose_dir() / "observability" / "builder.yml"


def configuration() -> Path:
    """Return the shipped configuration of the collector."""
    return compose_dir() / "observability" / "otel-collector-config.yaml"


def find_collector() -> Path | None:
    """Return the collector that was built for the shipped manifest, or None: nothing is built here."""
    go = shutil.which("go")
    entries = sorted(cache_dir().glob(f"otelcol-*/content/{PROGRAM}"))
    wanted = _key(_version(go)) if go else None
    for program in entries:
        note = program.with_name("key.txt")
        # Without Go there is nothing to compare the compiler's version with: the manifest decides.
        if note.is_file() and (
            (text := note.read_text(encoding="utf-8")) == wanted
            or (wanted is None and text.startswith(_manifest_text()))
        ):
            return program
    return None


def build_collector() -> Path:
    """Return the collector, built now where it was not. Raises ProvisionError."""
    if (found := find_collector()) is not None:
        return found
    go = shutil.which("go")
    if go is None:
        raise ProvisionError("The collector has to be built and there is no Go here", remedy=REMEDY)
    key = _key(_version(go))

    def make(content: Path) -> None:
        _build(go, content)
        (content / "key.txt").write_text(key, encoding="utf-8")

    try:
        with FileLock(cache_dir() / "otelcol.build.lock", timeout=BUILD_S):
            return cached("otelcol", key, make) / PROGRAM
    except Timeout as error:
        raise ProvisionError(
            f"Another process has been building the collector for more than {BUILD_S} s",
            remedy="wait for it, or end it",
        ) from error


def _build(go: str, content: Path) -> None:
    yaml = YAML(typ="safe")
    given = yaml.load(manifest())
    with tempfile.TemporaryDirectory(prefix="smos-otelcol-") as scratch:
        place = Path(scratch)
        given["dist"] |= {"output_path": str(place / "source"), "name": PROGRAM}
        with (place / "builder.yml").open("w", encoding="utf-8") as file:
            yaml.dump(given, file)
        words = [go, "run", f"{BUILDER}@v{given['dist']['version']}", "--config", str(place / "builder.yml")]
        words += ["--ldflags=-s -w"]  # a third smaller without the tables for debuggers
        tool = shutil.which("env") or "/usr/bin/env"
        try:
            done = subprocess.run(
                [tool, "CGO_ENABLED=0", "GOFLAGS=-trimpath", *words],
                cwd=place,
                capture_output=True,
                check=False,
                timeout=BUILD_S,
            )
        except subprocess.TimeoutExpired as error:
            raise ProvisionError(
                f"The collector was not built within {BUILD_S} s",
                remedy="try again: what was compiled is kept",
            ) from error
        built = place / "source" / PROGRAM
        if done.returncode != 0 or not built.is_file():
            raise ProvisionError(
                f"The collector could not be built (exit code {done.returncode})",
                remedy="a module proxy must be reachable (go env GOPROXY); the reason is below",
                log="\n".join(done.stderr.decode("utf-8", "replace").splitlines()[-20:]),
            )
        shutil.copyfile(built, content / PROGRAM)
        (content / PROGRAM).chmod(0o755)


def _manifest_text() -> str:
    return manifest().read_text(encoding="utf-8")


def _key(go_version: str) -> str:
    return f"{_manifest_text()}\n{go_version}\n"


def _version(go: str) -> str:
    """Return the compiler's version and platform, e.g. `go1.26.8 linux/amd64`."""
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False, timeout=ASK_S)
    match = re.search(r"go\d\S* \S+/\S+", done.stdout)
    if match is None:
        raise ProvisionError("`go version` gave no version", remedy=REMEDY, log=done.stderr)
    return match[0]
