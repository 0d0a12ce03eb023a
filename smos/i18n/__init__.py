"""The language of the command line: English in the source, Spanish from one catalogue (gettext).

What is shown passes `translate` once, where it leaves the program. A sentence with values in it is found again by its
template: `{1} is removed` is what `n8n is removed` was made of, and the values are looked up in their turn. So a
sentence is written once, as an f-string, and the catalogue is made from the source (`python -m smos.i18n`).
JSON, exit codes, verdicts and the names of steps are the same in every language.
"""

import gettext
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

DOMAIN = "smos"
DIRECTORY = Path(__file__).parent / "locale"
LANGUAGES = ("en", "es")
DEEPEST = 3
"""How far values of a sentence are looked up themselves."""
_CONFIGURED = re.compile(r"^lang:\s*['\"]?([A-Za-z_-]+)", re.MULTILINE)
_PLACE = re.compile(r"\{(\d+)\}")
_state = {"language": "en"}


def choose_language(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return "en" or "es": --lang before the command, SMOS_LANG, the configuration, then LC_ALL, LC_MESSAGES, LANG."""
    named = _flag(arguments) or environ.get("SMOS_LANG") or _configured(environ)
    for value in (named, environ.get("LC_ALL"), environ.get("LC_MESSAGES"), environ.get("LANG")):
        if value:
            return "es" if value.lower().startswith("es") else "en"
    return "en"


def _flag(arguments: Sequence[str]) -> str:
    for number, word in enumerate(arguments):
        if word.startswith("--lang="):
            return word.partition("=")[2]
        if word == "--lang":
            return arguments[number + 1] if number + 1 < len(arguments) else ""
        if not word.startswith("-"):
            return ""  # the command begins; some have a --lang of their own
    return ""


def _configured(environ: Mapping[str, str]) -> str:
    """Return `lang` of config.yml. By its line: the whole parser would take longer than `smos version` may."""
    place = Path(environ.get("SMOS_HOME") or Path.home() / ".smos").expanduser() / "config.yml"
    try:
        match = _CONFIGURED.search(place.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""  # whoever needs the file says what is wrong with it
    return match[1] if match else ""


def use(language: str) -> None:
    """Show messages in this language from now on, help texts of the libraries included."""
    _state["language"] = language
    if language != "en":
        gettext.bindtextdomain(DOMAIN, str(DIRECTORY))
        gettext.textdomain(DOMAIN)
        os.environ["LANGUAGE"] = language


def language() -> str:
    """Return the language in use."""
    return _state["language"]


@cache
def catalogue(name: str) -> gettext.NullTranslations:
    """Return a language's catalogue; an empty one where there is none."""
    return gettext.translation(DOMAIN, str(DIRECTORY), languages=[name], fallback=True)


@cache
def _templates(name: str) -> tuple[tuple[re.Pattern[str], tuple[str, ...], str], ...]:
    """Return every template as a pattern, with the numbers of its places and its translation; the wordiest first."""
    known = getattr(catalogue(name), "_catalog", {})
    found = []
    for source, target in known.items():
        if not isinstance(source, str) or not _PLACE.search(source):
            continue
        parts = _PLACE.split(source)
        pattern = "".join(
            re.escape(part) if number % 2 == 0 else "(.+?)" for number, part in enumerate(parts)
        )
        words = sum(len(part) for part in parts[::2])
        found.append((words, (re.compile(pattern, re.DOTALL), tuple(parts[1::2]), target)))
    return tuple(item for _, item in sorted(found, key=lambda item: -item[0]))


def translate(text: str, depth: int = 0) -> str:
    """Return a text in the language in use; unchanged where the catalogue does not know it."""
    name = _state["language"]
    if name == "en" or depth > DEEPEST or not text.strip():
        return text
    whole = catalogue(name).gettext(text)
    if whole != text:
        return whole
    for pattern, numbers, target in _templates(name):
        match = pattern.fullmatch(text)
        if match is not None:
            pairs = zip(numbers, match.groups(), strict=True)
            return _filled(target, {number: translate(value, depth + 1) for number, value in pairs})
    if "\n" in text:
        return "\n".join(translate(line, depth) for line in text.split("\n"))
    if "; " in text and depth < DEEPEST:
        return "; ".join(translate(part, depth + 1) for part in text.split("; "))
    return text


def _filled(target: str, values: Mapping[str, str]) -> str:
    """Put the values into a translation; other braces stay as they are."""

    def value(place: re.Match[str]) -> str:
        return values.get(place[1], place[0])

    return _PLACE.sub(value, target)


def translate_help(text: str) -> str:
    """Return a command's help in the language in use, paragraph by paragraph; examples keep their commands."""
    if _state["language"] == "en":
        return text
    return "\n\n".join(_paragraph(part) for part in text.split("\n\n"))


def _paragraph(part: str) -> str:
    joined = " ".join(part.split())
    if joined.startswith(("Example:", "Examples:")):
        return part.replace("Examples:", "Ejemplos:", 1).replace("Example:", "Ejemplo:", 1)
    return translate(joined)
