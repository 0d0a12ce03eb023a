"""What every command of `smos` shares: where output goes, how errors end, how a person is asked.

Results go to stdout, everything else (progress, questions, errors) to stderr. With `--json` stdout holds one JSON
document, on success and on error. Colour only on a terminal and without NO_COLOR (https://no-color.org).
"""

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from smos.cli.exits import Exit, exit_of
from smos.errors import CancelledError, SmosError, TargetError
from smos.i18n import choose_language, language, translate, use
from smos.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def run(app: Callable[[], object]) -> NoReturn:
    """Run the command line and end the process with the documented code; an expected error is one clear message."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal can't show must not end in a traceback
            stream.reconfigure(errors="backslashreplace")
    wants_json = "--json" in sys.argv[1:]
    use(choose_language(sys.argv[1:], os.environ))
    try:
        app()
        sys.stdout.flush()
    except SmosError as error:
        if wants_json:
            print_json(error_document(error))
        sys.stderr.write(f"smos: {error_text(error)}\n")
        sys.exit(exit_of(error))
    except SystemExit as ended:  # Typer has ended it: --help, a wrong option, `raise typer.Exit(code)`
        if wants_json and ended.code == Exit.USAGE:
            print_json(error_document(TargetError("Wrong usage; stderr says what", remedy="smos --help")))
        raise
    except KeyboardInterrupt:
        sys.stderr.write(translate("smos: interrupted") + "\n")
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read has left (`smos … | head`): that is no error. Python would complain again while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)
    sys.exit(Exit.OK)


def error_text(error: SmosError) -> str:
    """Return an error for the person at the terminal, in the language in use."""
    parts = [translate(error.message)]
    if error.remedy:
        parts.append(translate(f"What to do: {error.remedy}"))
    if error.log:
        parts.append(f"{translate('Last lines of the log:')}\n{error.log}")
    return "\n".join(parts)


def error_document(error: SmosError) -> dict[str, Any]:
    """Return what `--json` prints for an error."""
    return {
        "error": {
            "code": exit_of(error).name.lower(),
            "exit": int(exit_of(error)),
            "message": error.message,
            "remedy": error.remedy,
        }
    }


def print_json(document: Any, *, lines: bool = False) -> None:
    """Print one JSON document to stdout. lines: on a line of its own, for one document after the other."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    text = json.dumps(document, indent=None if lines else 1, ensure_ascii=plain, default=str)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def clear() -> None:
    """Begin at the top of the terminal again; nothing happens in a pipe."""
    out = console()
    if out.is_terminal and not os.environ.get("NO_COLOR"):
        out.clear()


def say(text: str) -> None:
    """Tell the person at the terminal something that is no result: it goes to stderr."""
    sys.stderr.write(translate(text) + "\n")
    sys.stderr.flush()


def result(text: str, document: Any, *, as_json: bool) -> None:
    """Print a result: in words, or with --json as a document."""
    if as_json:
        print_json(document)
    else:
        tell(text)


def tell(text: str) -> None:
    """Print a result in words to stdout."""
    sys.stdout.write(translate(text) + "\n")
    sys.stdout.flush()


def console(*, stderr: bool = False) -> "Console":
    """Return a rich console that is plain in a pipe and under NO_COLOR, and wide enough that no cell is cut."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, width=None if stream.isatty() else 240
    )


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows to stdout: lines and colour on a terminal, aligned plain text otherwise. A cell may be rich Text."""
    from rich import box
    from rich.table import Table

    out = console()
    if title:
        out.print(translate(title))
    table = Table(
        box=box.SIMPLE_HEAD if out.is_terminal else None,
        show_edge=False,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        table.add_column(translate(column), overflow="fold")
    for row in rows:
        table.add_row(*(cell if hasattr(cell, "plain") else _cell(str(cell)) for cell in row))
    out.print(table)


WORDS = frozenset({"yes", "no", "never", "unknown", "keep", "remove"})


def _cell(text: str) -> str:
    """Translate sentences, and the few words that are no name of anything."""
    return translate(text) if " " in text or text in WORDS else text


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is destroyed. Raises CancelledError on no, and where nobody can be asked without --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CancelledError(
            f"{question} Nobody can be asked here, so nothing was changed",
            remedy="run it on a terminal, or give --yes",
        )
    sys.stderr.write(f"{translate(question)} {'[s/N]' if language() == 'es' else '[y/N]'} ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes", "s", "si", "sí"}:
        raise CancelledError("Cancelled: nothing was changed")


def read_secret(prompt: str) -> str:
    """Read a secret without echo on a terminal, or one line from stdin otherwise; never from an argument."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass(f"{translate(prompt)}: ", stream=sys.stderr)
    return sys.stdin.readline().rstrip("\n")


def verdict(value: Verdict) -> "Text":
    """Return a verdict for a table, coloured on a terminal."""
    from rich.text import Text

    style = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.NOT_PROVEN: "yellow"}
    return Text(value.value, style=style.get(value, "magenta"))


def exit_of_verdict(value: Verdict) -> Exit:
    """Return the exit code of a verdict, the same as with pytest."""
    return {
        Verdict.PASS: Exit.OK,
        Verdict.FAIL: Exit.FAILED,
        Verdict.NOT_PROVEN: Exit.NOT_PROVEN,
        Verdict.ERROR: Exit.BROKEN,
    }[value]
