"""The runbook names commands that exist: nobody looks for an option in a disaster."""

import re
from pathlib import Path

import pytest
import typer

from smos.cli.app import app
from smos.live.commands import allow_list
from smos.live.errors import REMEDIES

ROOT = Path(__file__).resolve().parent.parent
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`(smos [^`]+)`", RUNBOOK)))


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_runbook_exists_with_its_options(line: str) -> None:
    command = typer.main.get_command(app)
    words = line.split()[1:]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"smos knows no {words[0]}"
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands"), f"`{line}` names a group, no command"
    known = {option for item in command.params for option in (*item.opts, *item.secondary_opts)} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known


def test_the_runbook_says_what_to_do_when_runner_vault_or_key_holders_are_gone() -> None:
    assert len(COMMANDS) >= 20
    for gone in ("**The runner**", "**Vault**", "**Three or more key holders", "**The evidence store**"):
        assert gone in RUNBOOK
    assert "declares the disaster" in RUNBOOK


def test_every_code_and_command_of_a_live_drill_is_documented() -> None:
    text = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    assert sorted(code for code in REMEDIES if f"`{code}`" not in text) == []
    assert len(allow_list()["host"]) == 9  # "Nine commands" there
    assert "Nine commands" in text
