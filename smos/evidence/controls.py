"""Which controls a check is evidence for, read from `controls.yml` beside this module when it is first asked for.

Checks don't know their controls; a report that speaks about production asks here. Rows of checks that are not
registered (yet) are harmless: nothing asks for them.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smos.errors import SmosError

FILE = Path(__file__).with_name("controls.yml")
Text = Annotated[str, Field(min_length=1, max_length=500)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Words(_Model):
    """One text in the two languages of the reports."""

    en: Text
    es: Text

    def of(self, language: str) -> str:
        """Return the text in `language` ("en" or "es")."""
        return self.es if language == "es" else self.en


class Framework(_Model):
    """One published set of controls. prefix: how its control IDs start in our reports."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$")]
    prefix: Text
    title: Text
    url: Annotated[str, Field(pattern=r"^https://\S+$")]


class Mapping_(_Model):  # noqa: N801  (Mapping is the type of the standard library)
    """One check is evidence for these controls, for one reason, within one limit."""

    check: Annotated[str, Field(pattern=r"^[A-Z]+-[0-9]{2,}$")]
    controls: Annotated[tuple[Text, ...], Field(min_length=1)]
    why: Words
    limits: Words


class Controls(_Model):
    """The whole file."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    frameworks: tuple[Framework, ...]
    controls: Mapping[str, Words]
    mappings: tuple[Mapping_, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Refuse a control without a title or a framework, and one that a check names twice."""
        seen: set[tuple[str, str]] = set()
        for control in self.controls:
            if self.framework(control) is None:
                raise ValueError(f"{control} belongs to none of the frameworks")
        for row in self.mappings:
            for control in row.controls:
                if control not in self.controls:
                    raise ValueError(f"{row.check} names {control!r}, which has no title under `controls`")
                if (row.check, control) in seen:
                    raise ValueError(f"{row.check} names {control!r} twice")
                seen.add((row.check, control))
        return self

    def framework(self, control: str) -> Framework | None:
        """Return the framework that a control ID belongs to; None for one that is not listed."""
        return next((item for item in self.frameworks if control.startswith(item.prefix + " ")), None)

    def of_check(self, check_id: str) -> tuple[str, ...]:
        """Return the controls that a check is evidence for, in the order of the file's list of controls."""
        named = {control for row in self.mappings if row.check == check_id for control in row.controls}
        return tuple(control for control in self.controls if control in named)

    def checks_of(self, control: str) -> tuple[str, ...]:
        """Return the checks that are evidence for a control, each once."""
        return tuple(dict.fromkeys(row.check for row in self.mappings if control in row.controls))

    def rows_of(self, control: str) -> tuple[Mapping_, ...]:
        """Return the reasons and limits for a control."""
        return tuple(row for row in self.mappings if control in row.controls)


@cache
def controls() -> Controls:
    """Return the mapping. Raises SmosError when the file that is shipped with the package is damaged."""
    return load(FILE)


def load(path: Path) -> Controls:
    """Read and validate a mapping. Raises SmosError, which names the entry."""
    try:
        return Controls.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except (OSError, YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise SmosError(
            f"The mapping of controls {path} can't be used: {error}",
            remedy="install the package again; a changed mapping must follow docs/controls.md",
        ) from error
