"""F32: dumps that attack. Each attack aims at something real outside of the sandbox, which must stay untouched.

Every canary can be written to by every user of this machine, so that no file mode protects it by accident.
"""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

from smos.faults.dr.workspace import Workspace
from smos.faults.registry import Expectation, Variant, caught, content, fault
from smos.verdict import Verdict

REFUSED = "hostile-statement"
DATABASE = "n8n"


def refused(*mentions: str) -> tuple[Expectation, ...]:
    """Return the expectation that a statement was never executed, and is reported."""
    return (caught("DR-03", REFUSED, DATABASE, *mentions),)


class Listener:
    """A TCP listener on loopback that counts who connects."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port = int(self._socket.getsockname()[1])
        self.connections = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            self.connections += 1
            connection.close()

    def close(self) -> int:
        """Stop listening; return how many connected."""
        self._over.set()
        self._thread.join()
        self._socket.close()
        return self.connections


def armed(work: Workspace) -> tuple[Path, int]:
    """Lay out a canary that everybody may overwrite, and a listener; return the canary and the listener's port."""
    outside = work.directory / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    work.directory.chmod(0o711)
    canary = outside / "canary"
    canary.write_text("untouched", encoding="utf-8")
    canary.chmod(0o666)
    listener = Listener()

    def reached() -> str:
        connections = listener.close()
        files = sorted(path.name for path in outside.iterdir())
        if files != ["canary"] or canary.read_text(encoding="utf-8") != "untouched":
            return "a file outside of the sandbox was written"
        return f"{connections} connections left the sandbox" if connections else ""

    work.attacked = reached
    return canary, listener.port


def plant(work: Workspace, text: Callable[[Path, int], str]) -> None:
    """Put hostile text into the middle of a plain dump, with a hash list that fits."""
    canary, port = armed(work)
    path = work.flatten(DATABASE, "plain")
    data = path.read_text(encoding="utf-8")
    mark = "\n--\n-- Name: workflow_entity; Type: TABLE;"
    if mark not in data:
        raise AssertionError("the dump has no place for the attack")
    path.write_text(data.replace(mark, f"\n{text(canary, port)}\n{mark}", 1), encoding="utf-8")
    work.list_hashes()


@fault("F32a", r"A dump runs a shell command: \!", "dump", refused(), databases=(DATABASE,))
def shell(work: Workspace) -> None:
    r"""Run a command with \!."""
    plant(work, lambda canary, _port: f"\\! echo overwritten > {canary}")


@fault("F32b", r"A dump pipes a table into a program: \copy", "dump", refused(), databases=(DATABASE,))
def copy_program(work: Workspace) -> None:
    r"""Run a command with \copy … to program."""
    plant(work, lambda canary, _port: f"\\copy (SELECT 1) to program 'tee {canary}'")


@fault("F32c", "A dump lets the server run a program", "dump", refused(), databases=(DATABASE,))
def server_program(work: Workspace) -> None:
    """Run a command with COPY … TO PROGRAM."""
    plant(work, lambda canary, _port: f"COPY (SELECT 1) TO PROGRAM 'tee {canary}';")


@fault("F32d", r"A dump reads another script: \i", "dump", refused(), databases=(DATABASE,))
def include(work: Workspace) -> None:
    r"""Read a script with \i, which writes the file."""

    def text(canary: Path, _port: int) -> str:
        script = work.directory / "script.sql"
        script.write_text(f"\\o {canary}\nSELECT 'overwritten';\n", encoding="utf-8")
        script.chmod(0o644)
        return f"\\i {script}"

    plant(work, text)


@fault("F32e", r"A dump writes a file: \o", "dump", refused(), databases=(DATABASE,))
def output(work: Workspace) -> None:
    r"""Write a file with \o."""
    plant(work, lambda canary, _port: f"\\o {canary}\nSELECT 'overwritten';\n\\o")


@fault("F32f", "A dump runs a command in backquotes", "dump", refused(), databases=(DATABASE,))
def backquotes(work: Workspace) -> None:
    r"""Run a command with \set."""
    plant(work, lambda canary, _port: f"\\set x `echo overwritten > {canary}`")


@fault("F32g", "A dump lets the server write a file", "dump", refused(), databases=(DATABASE,))
def server_file(work: Workspace) -> None:
    """Write a file with COPY … TO."""
    plant(work, lambda canary, _port: f"COPY (SELECT 'overwritten') TO '{canary}';")


@fault(
    "F32h",
    "A dump hides its attack behind a comment, a quote and a line end",
    "dump",
    refused(),
    databases=(DATABASE,),
)
def hidden(work: Workspace) -> None:
    """Hide a command where a careless reader of lines does not look."""
    plant(
        work,
        lambda canary, _port: (
            f"SELECT $q$ -- harmless $q$; /* ' */ COPY (SELECT 1)\n/* \n */ TO/**/PROGRAM\n'tee {canary}';"
        ),
    )


@fault(
    "F32i",
    "A dump connects out",
    "dump",
    caught("DR-03", (REFUSED, "statement-failed"), DATABASE),
    databases=(DATABASE,),
)
def connects(work: Workspace) -> None:
    """Connect to a server outside, with dblink."""
    plant(
        work,
        lambda _canary, port: (
            "CREATE EXTENSION IF NOT EXISTS dblink WITH SCHEMA public;\n"
            f"SELECT public.dblink_connect('leak', 'host=127.0.0.1 port={port} connect_timeout=2');"
        ),
    )


@fault(
    "F32j",
    "A subscription would connect from the sandbox",
    "dump",
    caught("DR-03", "no-manifest", DATABASE, verdict=Verdict.NOT_PROVEN),
    databases=(DATABASE,),
)
def subscribes(work: Workspace) -> None:
    """Create a subscription that connects at once: allowed in a dump, never made; a plain dump proves no more."""
    plant(
        work,
        lambda _canary, port: (
            f"CREATE SUBSCRIPTION leak CONNECTION 'host=127.0.0.1 port={port} dbname=x connect_timeout=2'"
            " PUBLICATION p;"
        ),
    )


@fault(
    "F32k",
    "A dump makes a role superuser",
    "dump",
    caught("DR-03", (REFUSED, "statement-failed", "unexpected-statement"), DATABASE),
    databases=(DATABASE,),
)
def superuser(work: Workspace) -> None:
    """Elevate the application's own role inside of a dump."""
    plant(work, lambda _canary, _port: "ALTER ROLE n8n_app SUPERUSER;")


@fault(
    "F32l",
    "The globals bring a superuser who was never there",
    "globals",
    caught("DR-02", ("hash-mismatch", "size-mismatch"), "globals.sql.zst"),
    caught("DR-03", "role-extra", "intruso"),
    caught("DR-03", "role-extra", "intruso", variant=Variant.REHASHED),
    caught("DR-03", "no-manifest", verdict=Verdict.NOT_PROVEN, variant=Variant.WITHOUT_MANIFEST),
    databases=(DATABASE,),
)
def stranger(work: Workspace) -> None:
    """Add a role with every right to the globals."""
    lines = "CREATE ROLE intruso;\nALTER ROLE intruso WITH SUPERUSER LOGIN;\n"
    work.edit_text(
        work.path("globals.sql.zst"),
        lambda text: text.replace("CREATE ROLE smarteros_app;\n", f"CREATE ROLE smarteros_app;\n{lines}", 1),
    )


@fault(
    "F32m",
    "A function of an archive attacks while an index is built",
    "dump",
    content(
        "statement-failed",
        DATABASE,
        without=caught("DR-03", "statement-failed", DATABASE, variant=Variant.WITHOUT_MANIFEST),
    ),
    databases=(DATABASE,),
)
def function(work: Workspace) -> None:
    """Let an index call a function that writes outside: no statement of the dump shows it to a reader."""
    canary, port = armed(work)
    # Looks harmless while it is made here: it attacks only where it runs under another superuser's name.
    body = (
        "CREATE FUNCTION public.stamp(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " IF current_setting('is_superuser') = 'on' AND session_user = 'postgres' THEN RETURN t; END IF;"
        f" EXECUTE $x$COPY (SELECT 1) TO PROGRAM 'tee {canary}; nc 127.0.0.1 {port}'$x$; RETURN t; END $$"
    )
    work.edit_dump(
        DATABASE, body, "CREATE INDEX stamped ON public.workflow_entity (public.stamp(name::text))"
    )
