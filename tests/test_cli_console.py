"""The rules that hold for every command: where output goes, how errors end, what is never done without asking."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smos.cli.exits import Exit, exit_of
from smos.errors import (
    AuthenticationError,
    BackupError,
    CancelledError,
    DeadlineError,
    TargetError,
    UnreachableError,
)

SMOS = Path(sys.executable).with_name("smos")
PROGRAM = """
import sys, typer
from smos.cli import console
from smos.errors import UnreachableError
app = typer.Typer(pretty_exceptions_enable=False)
@app.command()
def ask(yes: bool = False, as_json: bool = typer.Option(False, "--json")):
    console.confirm("Destroy everything?", yes=yes)
    print("destroyed")
@app.command()
def far(as_json: bool = typer.Option(False, "--json")):
    raise UnreachableError("127.0.0.1:1 does not answer", remedy="start it")
@app.command()
def table():
    console.print_table("Things", ["name", "state"], [["a" * 90, "[red]fine[/red]"]])
@app.command()
def name(as_json: bool = typer.Option(False, "--json")):
    console.result("\u00d1and\u00fa", {"name": "\u00d1and\u00fa"}, as_json=as_json)
@app.command()
def wait():
    print("ready", flush=True)
    import time; time.sleep(600)
@app.command()
def secret():
    print(len(console.read_secret("Token")))
console.run(app)
"""


def run(*args: str, text: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *args],
        input=text if text is not None else "",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=dict(os.environ) | env,
    )


def on_a_terminal(*args: str, answer: bytes = b"", **env: str) -> tuple[int, str]:
    pid, fd = pty.fork()
    if pid == 0:  # the child, on a terminal of its own
        os.execve(sys.executable, [sys.executable, "-c", PROGRAM, *args], dict(os.environ) | env)  # noqa: S606
    seen = b""
    if answer:
        while b"?" not in seen and b":" not in seen:
            seen += os.read(fd, 4096)
        os.write(fd, answer)
    try:
        while block := os.read(fd, 4096):
            seen += block
    except OSError:  # how a terminal says that nobody is left
        pass
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (TargetError, 2),
        (AuthenticationError, 3),
        (UnreachableError, 4),
        (DeadlineError, 4),
        (CancelledError, 5),
        (BackupError, 1),
    ],
)
def test_the_kind_of_an_error_decides_the_exit_code(kind: type, code: int) -> None:
    assert exit_of(kind("text")) == code


def test_an_error_goes_to_stderr_with_its_remedy() -> None:
    done = run("far")
    assert (done.returncode, done.stdout) == (Exit.UNREACHABLE, "")
    assert done.stderr == "smos: 127.0.0.1:1 does not answer\nWhat to do: start it\n"


def test_with_json_stdout_parses_on_errors_too() -> None:
    done = run("far", "--json")
    assert json.loads(done.stdout)["error"]["code"] == "unreachable"
    done = run("far", "--json", "--nosuch")
    assert done.returncode == Exit.USAGE
    assert json.loads(done.stdout)["error"]["exit"] == 2


def test_a_terminal_without_the_letters_of_a_message_gets_no_traceback() -> None:
    done = run("name", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "\\xd1and\\xfa\n"), done.stderr
    done = run("name", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout) == {"name": "Ñandú"}


def test_without_a_terminal_and_without_yes_nothing_is_destroyed() -> None:
    done = run("ask", text="y\n")
    assert done.returncode == Exit.CANCELLED
    assert "destroyed" not in done.stdout
    assert run("ask", "--yes").stdout == "destroyed\n"


def test_a_person_is_asked_on_a_terminal() -> None:
    code, seen = on_a_terminal("ask", answer=b"n\n")
    assert (code, "destroyed" in seen) == (Exit.CANCELLED, False)
    code, seen = on_a_terminal("ask", answer=b"y\n")
    assert (code, "destroyed" in seen) == (Exit.OK, True)


def test_a_secret_is_not_echoed() -> None:
    code, seen = on_a_terminal("secret", answer=b"hunter2\n")
    assert code == 0
    assert "hunter2" not in seen
    assert run("secret", text="hunter2\n").stdout == "7\n"


def test_a_table_is_plain_and_whole_in_a_pipe_and_reads_no_markup() -> None:
    piped = run("table").stdout
    assert "\x1b" not in piped
    assert "a" * 90 in piped
    assert "[red]fine[/red]" in piped


def test_colour_ends_under_no_color() -> None:
    _, seen = on_a_terminal("table", NO_COLOR="1")
    assert "name" in seen
    assert not re.search(r"\x1b\[(3|4|9|10)\d", seen)


def test_an_interrupted_command_ends_with_130() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(2)
        assert process.wait(60) == Exit.INTERRUPTED


def test_a_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{SMOS} --help; echo $? >&2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr.strip() == "0"
    with subprocess.Popen(
        [SMOS, "doctor", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
        process.wait(60)


def test_the_version_comes_at_once() -> None:
    started = time.monotonic()
    done = subprocess.run([SMOS, "version"], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("smarteros-verify ")
    assert time.monotonic() - started < 120  # a limit against hangs; bench/ measures it
    loaded = subprocess.run(
        [sys.executable, "-c", "import smos.cli.app, sys; print('pydantic' in sys.modules, 'rich' in sys.modules)"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert loaded.stdout.split()[0] == "False"
