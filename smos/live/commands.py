"""The allow list: which commands may run on a host, as data, and the only way to make one."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from smos.errors import UnsafeInputError

FILE = Path(__file__).with_name("commands.yml")
_WORD = re.compile(r"(?<!\{)\{([a-z_]+)\}(?!\})")
"""`{{…}}` is Docker's own template and stays what it is."""


@cache
def allow_list() -> Mapping[str, Any]:
    """Return the file's content."""
    data: Mapping[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
    return data


def argv(name: str, **words: str) -> list[str]:
    """Return the command `name` with its words filled in.

    Raises UnsafeInputError for a command that is not on the list, or a word that does not look as the list says.
    """
    listed = allow_list()
    if name not in listed["host"]:
        raise UnsafeInputError(f"{name!r} is not on the list of commands", remedy=f"see {FILE.name}")

    def fill(match: re.Match[str]) -> str:
        value = words[match[1]]
        if not re.fullmatch(listed["words"][match[1]], value, re.DOTALL):
            raise UnsafeInputError(f"{value!r} can't be the {match[1]} of the command {name}")
        return value

    return [_WORD.sub(fill, word) for word in listed["host"][name]["argv"]]
