"""Names of database objects, written the same way whatever the server's version.

The server's own `quote_ident` consults its keyword list, which grows with every major version: the same table
would be called differently on two servers. These names are for comparing and for people, never for SQL.
"""

import re

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*\Z")


def quote(name: str) -> str:
    """Return `name`, in double quotes unless it is a plain lower-case word."""
    return name if _PLAIN.match(name) else '"' + name.replace('"', '""') + '"'


def qualified(*parts: str) -> str:
    """Join the parts of a name with dots: `app.orders`, `public."Name with a space"`."""
    return ".".join(quote(part) for part in parts)
