"""Compiled Python for servers that run by themselves: without it each start compiles all that it imports.

Such a server runs isolated (`-I -S -B`) from packages that its user can't write to, so it finds no bytecode and leaves
none; compiling chdb or the OpenTelemetry SDK anew takes half of the time that its start takes. What a first start
imported is kept in the cache, where the service user can only read it.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from smos.errors import ProvisionError
from smos.provision.cache import CacheError, cached

COMPILE_S = 180


def with_bytecode(
    python: Path, packages: Path, imports: Sequence[str], *, without: Sequence[str] = ()
) -> list[str]:
    """Return options for `python` with which it finds these modules compiled; none where there is no cache.

    packages: the folder that they are imported from; its time tells when something was installed there. Python itself
    compares each file's time and size in any case. without: modules that are not to be found.
    """

    def make(content: Path) -> None:
        names = ", ".join(imports)
        hidden = f"sys.modules.update(dict.fromkeys({list(without)!r}))"
        code = f"import sys; sys.path.insert(0, {str(packages)!r}); {hidden}; import {names}"
        words = [str(python), "-I", "-S", "-X", f"pycache_prefix={content}", "-c", code]
        try:
            subprocess.run(words, capture_output=True, check=True, timeout=COMPILE_S)
        except (subprocess.SubprocessError, OSError) as error:
            raise ProvisionError(f"{names} can't be imported: {error}") from error
        for path in content.rglob("*.pyc"):
            path.chmod(0o644)

    installed = packages.stat().st_mtime_ns
    key = repr((str(python), sys.version, str(packages), installed, tuple(imports), tuple(without)))
    try:
        return ["-X", f"pycache_prefix={cached('bytecode', key, make)}"]
    except CacheError:  # it only saves time
        return []
