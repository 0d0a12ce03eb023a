"""Which protected tables a SECURITY DEFINER function may reach past the policies, as far as its text tells.

A function names tables, views and other functions; with dynamic SQL, or in a language that is not read, it may reach
all that its owner reaches.
"""

import re

from smos.rls.expressions import without_comments
from smos.rls.facts import ProbeFacts
from smos.rls.finding import is_exempt, owned_tables
from smos.rls.observe import base_tables_of
from smos.rls.schema import Function, Relation

_DYNAMIC = re.compile(r"(?i)\bexecute\b|\b(?:query|cursor|table|schema|database)_to_xml\w*\s*\(")
READ = frozenset({"sql", "plpgsql"})
"""Languages whose text is read."""


class Reach:
    """Answers for one set of facts; what it worked out is kept."""

    def __init__(self, facts: ProbeFacts) -> None:
        self._facts = facts
        self._owned = owned_tables(facts)
        self._views = [item for item in facts.schema.relations.values() if item.kind in {"v", "m"}]

    def past_policies(self, function: Function) -> Relation | None:
        """Return a table of tenants that the function names, itself or through others, and is not limited on."""
        seen: set[int] = set()
        todo = [(function, function.owner)]
        while todo:
            one, user = todo.pop()
            if one.oid in seen:
                continue
            seen.add(one.oid)
            body = without_comments(one.body)
            for table in self._owned:
                if _names(body, table.name) and is_exempt(self._facts, user, table):
                    return table
            for view in self._views:
                if not _names(body, view.name):
                    continue
                reader = user if view.invoker else view.owner
                for table in base_tables_of(self._facts.schema, view):
                    about = self._facts.tables.get(table.oid)
                    if about and about.owned and (view.kind == "m" or is_exempt(self._facts, reader, table)):
                        return table
            todo += [
                (other, other.owner if other.definer else user)
                for other in self._facts.schema.functions.values()
                if other.oid not in seen and _names(body, other.name)
            ]
        return None

    def anything(self, function: Function) -> Relation | None:
        """Return a table that it may reach without naming it: by dynamic SQL, or in a language that is not read."""
        if function.language in READ and not _DYNAMIC.search(without_comments(function.body)):
            return None
        return next((item for item in self._owned if is_exempt(self._facts, function.owner, item)), None)


def _names(body: str, name: str) -> bool:
    name = name.replace('"', '""')
    return name in body and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", body) is not None
