"""The RUT, Chile's tax number: read as people write it, kept in one form."""

import re

from smos.demo.chile import check_digit
from smos.errors import TargetError

_FORM = re.compile(r"(\d{1,3}(?:\.\d{3})+|\d{6,8})-?([\dkK])")


def parse_rut(text: str) -> str:
    """Return the canonical form, e.g. 76543210-3, of "76.543.210-3". Raises TargetError for a wrong check digit."""
    match = _FORM.fullmatch(text.strip())
    number = match[1].replace(".", "") if match else ""
    if match is None or not 6 <= len(number) <= 8 or number.startswith("0"):
        raise TargetError(f"{text!r} is no RUT", remedy="write it as 76.543.210-3")
    expected = check_digit(int(number))
    if match[2].upper() != expected:
        raise TargetError(
            f"The check digit of the RUT {text} is wrong", remedy="compare it with the document"
        )
    return f"{number}-{expected}"
