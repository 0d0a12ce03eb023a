"""Waivers: the only thing that excuses a check. Each has a reason, an approver and an end.

    schema: 1
    waivers:
      - check: DR-08
        reason: Pruning is switched off until the storage is migrated (OPS-412)
        approver: ana.perez
        expires: 2027-01-31

A waiver is valid until the end of its last day, UTC. An expired one excuses nothing and fails its check. A
waiver never excuses ERROR: a harness that broke has said nothing that could be accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smos.checks.registry import is_known
from smos.errors import TargetError
from smos.evidence.redact import visible

FILE_NAME = "waivers.yml"
Text = Annotated[str, Field(min_length=1, max_length=2000)]


@dataclass(frozen=True, slots=True)
class Waiver:
    """One check that somebody accepted as it is, until the end of the day `expires` (UTC)."""

    check: str
    reason: str
    approver: str
    expires: date

    def expired(self, today: date) -> bool:
        """Tell whether the last day has passed."""
        return today > self.expires


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    check: Text
    reason: Text
    approver: Text
    expires: date


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Annotated[Literal[1], Field(alias="schema")]
    waivers: tuple[_Entry, ...]


def find_waivers(target_file: Path | None, flag: str | None) -> tuple[Waiver, ...]:
    """Return the waivers of `--waivers FILE`, else of `waivers.yml` beside the target file, else none.

    Raises TargetError when the file is missing (flag), malformed, or names an unknown check.
    """
    if flag:
        return load_waivers(Path(flag))
    if target_file is not None:
        beside = target_file.resolve().parent / FILE_NAME
        if beside.is_file():
            return load_waivers(beside)
    return ()


def load_waivers(path: Path) -> tuple[Waiver, ...]:
    """Read and validate a file of waivers. Raises TargetError, which names the entry and what to do."""
    try:
        data = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetError(
            f"The waivers file {path} can't be read: {error.strerror}",
            remedy="give --waivers an existing file, or leave the option out",
        ) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise TargetError(f"The waivers file {path} is not valid YAML: {error}") from error
    try:
        parsed = _File.model_validate(dict(data) if isinstance(data, Mapping) else data)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, item['loc'])) or '(the whole file)'}: {item['msg']}"
            for item in error.errors()
        ]
        raise TargetError(
            f"{path} is not a valid file of waivers:\n" + "\n".join(lines),
            remedy="a waiver has exactly check, reason, approver and expires (a date); see docs/reports.md",
        ) from error
    seen: set[str] = set()
    for entry in parsed.waivers:
        if not is_known(entry.check):
            raise TargetError(
                f"{path} waives {entry.check!r}, but there is no such check",
                remedy="use an ID of the closing table, for example DR-08",
            )
        if entry.check in seen:
            raise TargetError(f"{path} waives {entry.check} twice", remedy="keep one of the two")
        seen.add(entry.check)
    return tuple(Waiver(e.check, visible(e.reason), visible(e.approver), e.expires) for e in parsed.waivers)
