"""Builds the OpenTelemetry Collector from the shipped manifest, once for each manifest and Go version.

The official builder writes a small program that names exactly the manifest's components; Go compiles it. That
takes some five minutes on two cores the first time, so the program is kept (see golang.py).
"""

import shutil
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

from smos.errors import ProvisionError
from smos.paths import compose_dir
from smos.provision.embedded.golang import LDFLAGS, build, find_built, run_go

PROGRAM = "otelcol"
BUILDER = "go.opentelemetry.io/collector/cmd/builder"


def manifest() -> Path:
    """Return the builder's manifest."""
    return compose_dir() / "observability" / "builder.yml"


def configuration() -> Path:
    """Return the shipped configuration of the collector."""
    return compose_dir() / "observability" / "otel-collector-config.yaml"


def find_collector() -> Path | None:
    """Return the collector that was built for the shipped manifest, or None: nothing is built here."""
    return find_built(PROGRAM, PROGRAM, _key())


def build_collector() -> Path:
    """Return the collector, built now where it was not. Raises ProvisionError."""
    return build(PROGRAM, PROGRAM, _key(), _make)


def require_collector() -> Path:
    """Return the built collector. Raises ProvisionError that says how to build it: nothing is built here."""
    found = find_collector()
    if found is None:
        raise ProvisionError(
            "The OpenTelemetry Collector is not built, so the shipped configuration can't be proven",
            remedy="make otelcol (needs Go and a module proxy; about five minutes, once)",
        )
    return found


def _make(go: str, content: Path) -> None:
    yaml = YAML(typ="safe")
    given = yaml.load(manifest())
    with tempfile.TemporaryDirectory(prefix="smos-otelcol-") as scratch:
        place = Path(scratch)
        given["dist"] |= {"output_path": str(place / "source"), "name": PROGRAM}
        with (place / "builder.yml").open("w", encoding="utf-8") as file:
            yaml.dump(given, file)
        builder = f"{BUILDER}@v{given['dist']['version']}"
        run_go(
            [go, "run", builder, "--config", str(place / "builder.yml"), f"--ldflags={LDFLAGS}"], place=place
        )
        shutil.copyfile(place / "source" / PROGRAM, content / PROGRAM)


def _key() -> str:
    return manifest().read_text(encoding="utf-8")
