"""What a compose file says where variables have defaults: the stacks as they are shipped, before anybody set one."""

import re

_DEFAULT = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*:?-([^{}]*)\}")


def shipped(text: str) -> str:
    """Return `text` with `${NAME:-default}` as its default; what has none, or a nested one, stays as it is.

    >>> shipped("${SMOS_POSTGRES_IMAGE:-postgres:18.6-bookworm}")
    'postgres:18.6-bookworm'
    """
    return _DEFAULT.sub(lambda match: match[1], text)
