"""`smos drill`: the recovery drill from the shell, the same run and the same reports as `pytest -m dr`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from smos.cli.exits import Exit

_EXITS = {2: Exit.INTERRUPTED, 3: Exit.BROKEN, 4: Exit.USAGE, 5: Exit.USAGE, 6: Exit.BROKEN}
"""pytest's own codes in the words of this command; 0, 1, 10 and 11 are the same."""


def drill(
    target: Annotated[
        Path | None, typer.Option(help="What is verified (default: smos.yml, else self-test).")
    ] = None,
    backups: Annotated[Path | None, typer.Option(help="Verify the backups in this directory.")] = None,
    reports: Annotated[Path | None, typer.Option(help="Where the reports go (default: reports).")] = None,
    provision: Annotated[str | None, typer.Option(help="auto, embedded, docker or live.")] = None,
    waivers: Annotated[
        Path | None, typer.Option(help="Accepted gaps (default: waivers.yml by the target).")
    ] = None,
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the closing table.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print verdict.json to stdout, the table to stderr.")
    ] = False,
) -> None:
    """Restore the newest backup into an isolated sandbox, compare, time, and report. Nothing is written to the source.

    Examples: smos drill; smos drill --target targets/production.yml --reports /srv/evidence
    """
    from smos.paths import suites_dir

    options = {"--target": target, "--backups": backups, "--reports": reports, "--waivers": waivers}
    words = [f"{name}={path.absolute()}" for name, path in options.items() if path is not None]
    words += [] if reports is not None else [f"--reports={Path('reports').absolute()}"]
    words += [] if provision is None else [f"--provision={provision}"]
    if target is None and "SMOS_TARGET" not in os.environ and Path("smos.yml").is_file():
        words.append(f"--target={Path('smos.yml').absolute()}")
    code = _run(
        [*words, *(["-q", "--no-header", "--no-summary"] if quiet else [])], suites_dir(), to_stderr=as_json
    )
    if as_json and code != Exit.USAGE:  # of wrong usage the document is printed where every command's is
        from smos.cli import console

        verdict = (reports or Path("reports")) / "verdict.json"
        document = {
            "error": {"code": "broken", "exit": code, "message": "The drill gave no verdict", "remedy": ""}
        }
        if code != Exit.BROKEN and verdict.is_file():
            document = json.loads(verdict.read_bytes())
        console.print_json(document)
    raise typer.Exit(code)


def _run(words: list[str], suites: Path, *, to_stderr: bool) -> int:
    """Run pytest on the drill's suite and return this command's exit code. Ctrl-C reaches it as on any terminal."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "dr",
        "-p",
        "no:cacheprovider",
        "-c",
        str(suites / "pyproject.toml"),
    ]
    # From a directory of our own: what lies in the user's may not configure pytest.
    with subprocess.Popen(
        [*command, f"--rootdir={suites}", *words, str(suites / "suites" / "dr")],
        cwd=suites,
        stdout=sys.stderr if to_stderr else None,
    ) as process:
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:  # it got the signal too: it writes what it has, and ends
                continue
    if code < 0:
        return 128 - code if -code in set(signal.Signals) else int(Exit.BROKEN)
    return int(_EXITS.get(code, code))
