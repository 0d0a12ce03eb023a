"""The last line of defence against a secret in a report: known shapes of secrets are cut out of every text.

Not enough alone: whoever records facts must not record secrets to begin with. Tests plant canaries.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

MARK = "[redacted]"

_KEYS = (
    r"pgpassword|password|passwd|secret[_-]?id|client[_-]?secret|secret[_-]?key|access[_-]?key|api[_-]?key"
    r"|(?:root|client|access|auth|vault|bearer)?[_-]?token|unseal[_-]?keys?|key[_-]?shares?|private[_-]?key"
)
_PATTERNS = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        MARK,
    ),
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@"), rf"\1:{MARK}@"),
    (re.compile(r"https://hooks\.slack\.com/[^\s\"'>]+"), f"https://hooks.slack.com/{MARK}"),
    (re.compile(r"\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{20,}"), MARK),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}"), MARK),
    (re.compile(rf"(?i)\b({_KEYS})(\s*=\s*|[\"']\s*:\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)"), rf"\1\2{MARK}"),
    (re.compile(r"(?i)\b(bearer|x-vault-token:?)\s+[A-Za-z0-9._~+/-]{8,}=*"), rf"\1 {MARK}"),
)
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_SECRET_KEY = re.compile(rf"(?i)(?:.*[_-])?(?:{_KEYS})")


def redact(text: str) -> str:
    """Return `text` without passwords in addresses, tokens, private keys and `password=…` pairs."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def visible(text: str) -> str:
    r"""Return `text` with what would act on a reader's screen spelt out, e.g. `\u202e`.

    Names in backups are untrusted: control characters of a terminal, marks that turn the direction of writing around,
    and halves of characters (names that are no text) that no file can hold. Line ends and tabs stay.
    """
    return _ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def visible_json(data: Any) -> Any:
    """Return `data` with every text made visible, keys and fields of dataclasses too: half characters fit no JSON."""
    if isinstance(data, (str, PurePath)):
        return visible(str(data))
    if is_dataclass(data) and not isinstance(data, type):
        return {field.name: visible_json(getattr(data, field.name)) for field in fields(data)}
    if isinstance(data, Mapping):
        return {visible(str(key)): visible_json(value) for key, value in data.items()}
    if isinstance(data, (list, tuple, set, frozenset)):
        return [visible_json(item) for item in data]
    return data


def redact_json(data: Any) -> Any:
    """Return JSON-like `data` with every text redacted, and texts under keys that name a secret cut out."""
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, Mapping):
        return {
            str(key): _cut(value) if _SECRET_KEY.fullmatch(str(key)) else redact_json(value)
            for key, value in data.items()
        }
    if isinstance(data, (list, tuple)):
        return [redact_json(item) for item in data]
    return data


def _cut(value: Any) -> Any:
    """Cut texts out, keep numbers and booleans: `"unseal_keys": 3` is a count, not a key."""
    if isinstance(value, str):
        return MARK
    if isinstance(value, (list, tuple)):
        return [_cut(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _cut(item) for key, item in value.items()}
    return value
