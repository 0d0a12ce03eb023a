"""The questions that are asked of PostgreSQL's system catalogues, one set query per kind of object.

Every query returns rows of (kind, name parts text[], suffix text, definition jsonb). No query runs once per
object, none shows an OID, a connection string, an option's value of a foreign server or a function's body.
Servers 13 to 18; columns that a version lacks are left out by its number.

Roles' names are given as they are; access lists as text[] with a NULL list expanded to its default.
"""

from smos.postgres.catalogue_code_sql import collations, functions, operators, text_search, types
from smos.postgres.catalogue_other_sql import (
    changed_privileges,
    comments,
    database,
    default_privileges,
    foreign_data,
    global_objects,
    large_objects,
    replication,
    security_labels,
)
from smos.postgres.catalogue_tables_sql import (
    constraints,
    indexes,
    policies,
    relations,
    rules,
    sequences,
    triggers,
)

__all__ = ["QUERIES"]

QUERIES = (
    relations,
    constraints,
    indexes,
    functions,
    triggers,
    rules,
    policies,
    sequences,
    types,
    operators,
    text_search,
    collations,
    global_objects,
    foreign_data,
    replication,
    default_privileges,
    comments,
    security_labels,
    changed_privileges,
    large_objects,
    database,
)
