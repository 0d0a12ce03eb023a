"""What a rollback does not take back: counters that triggers, rules and defaults draw from, programs that they call.

In the user's own database nothing is tried that could have such an effect; on the copy of the schema everything is.
"""

import re

from smos.rls.expressions import without_comments
from smos.rls.schema import Column, Function, Schema

_PLAIN = re.compile(
    r"(?is)\b(?:insert|update|delete|merge|nextval|setval|execute|perform|call|copy|notify|lo_\w+|dblink\w*|http\w*|"
    r"pg_(?:notify|logical\w*|(?:try_)?advisory\w*|read\w*|file\w*|sleep\w*|terminate\w*|cancel\w*)|set_config)\b"
)
"""Words of a body that does more than to look at a row and change it."""


def relations_with_effects(schema: Schema) -> frozenset[int]:
    """Return the OIDs of relations on which a write may do what no rollback takes back; heirs count for parents."""
    found = {
        oid
        for oid, item in schema.relations.items()
        if item.ruled or any(not _is_plain(schema, schema.functions.get(one)) for one in item.triggers)
    }
    todo = list(found)
    while todo:
        parents = set(schema.relations[todo.pop()].parents) & set(schema.relations) - found
        found |= parents
        todo += parents
    return frozenset(found)


def draws(schema: Schema, column: Column) -> bool:
    """Tell whether the default of a column may move a counter: the canary then brings its own value."""
    if column.default is None:
        return False
    words = set(re.findall(r"\w+", column.default))
    return "nextval" in words or column.default == "identity" or bool(words & schema.volatile)


def _is_plain(schema: Schema, function: Function | None) -> bool:
    if function is None or function.language != "plpgsql":
        return False  # of an extension, or in a language that can do anything
    body = without_comments(function.body)
    return not _PLAIN.search(body) and not (set(re.findall(r"(\w+)\s*\(", body)) & schema.volatile)
