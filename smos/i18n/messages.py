"""Collects the messages of the command line: help texts from its own tree, sentences from the source.

A message with values in it is an f-string in the source and a template in the catalogue: `{1} is removed` for
`f"{name} is removed"`. Only what a person is shown counts: what is printed, asked or raised, and findings.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PLACES = (
    "cli", "restore", "services", "deploy", "health", "config", "tenants", "mcp", "notify", "errors.py",
    "backup/retention.py", "wait.py", "backup/create.py", "backup/signing.py", "backup/envelope.py",
    "backup/sealing.py", "backup/manifest.py", "postgres/heartbeat.py", "vault/kv.py", "vault/model.py",
    "vault/escrow.py", "vault/access.py", "vault/datakey.py", "checks/dr/vault_health.py",
    "provision/installations.py",
)  # fmt: skip
"""Whose sentences are translated: the command line, what is there for it alone, and what its errors come from."""
SHOWN = frozenset({
    "say", "tell", "confirm", "print_table", "echo", "read_secret", "append", "Step", "Finding", "fail", "not_proven",
    "note",
})  # fmt: skip
KEYWORDS = frozenset({"remedy", "detail", "help"})
FEWEST_LETTERS = 3


def template(node: ast.expr) -> str | None:
    """Return the text of a string, or the template of an f-string; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts, number = [], 0
        for value in node.values:
            if isinstance(value, ast.Constant):
                parts.append(str(value.value))
            else:
                number += 1
                parts.append(f"{{{number}}}")
        return "".join(parts)
    return None


def is_message(text: str) -> bool:
    """Tell whether a text is one for people: words, not a key, a path or a format."""
    letters = [char for char in text if char.isalpha()]
    bare = text.strip()
    return (
        len(letters) >= FEWEST_LETTERS
        and not bare.startswith(("--", "/", "http", "\x1b"))
        and (" " in bare or (bare[:1].isupper() and bare.isalpha()))
    )


def sentences(root: Path) -> set[str]:
    """Return the messages in the source below `root` (the package's directory)."""
    found: set[str] = set()
    for place in PLACES:
        path = root / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found |= set(_in_file(ast.parse(file.read_text(encoding="utf-8"))))
    return {text for text in found if is_message(text)}


def _in_file(tree: ast.AST) -> Iterator[str]:
    named: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            named.setdefault(node.targets[0].id, []).extend(_texts(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _shows(node.func):
            arguments = [*node.args, *(word.value for word in node.keywords if word.arg in KEYWORDS)]
            for argument in arguments:
                yield from _texts(argument)
                if isinstance(argument, ast.Name):  # text = f"…"; raise BackupError(text)
                    yield from named.get(argument.id, ())


def _shows(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in SHOWN or name.endswith("Error")


def _texts(node: ast.AST) -> Iterator[str]:
    """Yield the texts that an expression may be: of both sides of a choice, and of the rows of a table."""
    if isinstance(node, ast.expr) and (text := template(node)) is not None:
        yield text
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.BoolOp | ast.Tuple | ast.List):
        for value in node.values if isinstance(node, ast.BoolOp) else node.elts:
            yield from _texts(value)


def help_texts(command: Any) -> Iterator[str]:
    """Yield every help text of a command and of what is below it (click's tree, as Typer makes it)."""
    if command.help:
        yield from paragraphs(command.help)
    for parameter in command.params:
        if getattr(parameter, "help", None):
            yield parameter.help
    for child in getattr(command, "commands", {}).values():
        yield from help_texts(child)


def paragraphs(text: str) -> Iterable[str]:
    """Return a help text's parts: each is a message of its own, however its lines are broken. Examples are none."""
    for part in text.replace("\f", "").split("\n\n"):
        joined = " ".join(part.split())
        if joined and not joined.startswith("Example"):
            yield joined


LIBRARY = (
    "Arguments", "Options", "Commands", "Error", "required", "[required]", "[default: {}]", "[env var: {}]",
    "No such command {name!r}.", "Missing command.", "Show this message and exit.", "Aborted.",
    "Try [blue]'{command_path} {help_option}'[/] for help.",
)  # fmt: skip
"""What Typer itself shows."""
OTHERS = (
    "nobody can tell its age",
    "its time stamp lies in the future",
    "the newest set that was verified",
    "the newest set",
    "{1} days old, kept for {2}",
    "an interrupted run had begun to",
    "remove",
    "keep",
    "What to do: {1}",
    "Last lines of the log:",
    "yes",
    "no",
    "never",
    "smos: interrupted",
    "unknown",
)


def all_messages() -> set[str]:
    """Return every message that the catalogue must hold."""
    from typer.main import get_command

    from smos.checks.dr import vault_health
    from smos.cli.app import app
    from smos.config.keys import KEYS

    found = set(help_texts(get_command(app))) | sentences(Path(__file__).resolve().parent.parent)
    # A sentence that a judge puts together of parts: as wholes, with and without what was seen.
    states = {sentence: remedy for _, sentence, remedy in vault_health.STATES.values()}
    found |= {f"The Vault at {{1}} {sentence}{end}" for sentence in states for end in ("", " ({2})")}
    found |= set(states.values())
    return found | set(LIBRARY) | set(OTHERS) | {key.help for key in KEYS.values()}
