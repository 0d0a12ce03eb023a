"""What a database is made of: every object that users see, with a canonical definition.

Some twenty set queries, however many objects there are. What an extension brings is left out (CREATE
EXTENSION brings it back); what somebody changed about it (privileges, policies, comments) is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from smos.errors import BackupError
from smos.postgres.catalogue_other_sql import user_mappings
from smos.postgres.catalogue_sql import QUERIES
from smos.postgres.names import qualified
from smos.postgres.roles import read_roles
from smos.postgres.session import fixed_settings

if TYPE_CHECKING:
    import psycopg

__all__ = ["OLDEST_SERVER", "Catalogue", "read_catalogue", "read_roles"]

OLDEST_SERVER = 130000
# The version that CREATE EXTENSION gives comes first.
_OFFERED = b"""
SELECT v.name, array_agg(v.version ORDER BY v.version <> x.default_version, v.version)
FROM pg_available_extension_versions AS v JOIN pg_available_extensions AS x ON x.name = v.name GROUP BY v.name
"""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All objects of one database.

    objects: `kind:name` (e.g. `table:app.orders`, `constraint:app.orders.orders_pkey`) to its definition: a
    JSON object without nulls and without what is at its default. Access lists are lists of the server's text
    form. extensions_offered: what the server could install: name to versions, the default one first.
    locales_offered: the collations of the operating system that the server knows, in lower case without
    dashes (`es_cl.utf8`); `icu` where it has that library.
    """

    server_version_num: int
    objects: Mapping[str, Mapping[str, Any]]
    extensions_offered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    locales_offered: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """Return the objects of one kind, by name (without the kind)."""
        prefix = f"{kind}:"
        return {key[len(prefix) :]: value for key, value in self.objects.items() if key.startswith(prefix)}

    @property
    def database(self) -> Mapping[str, Any]:
        """Encoding, collation, owner and the like of the database itself."""
        return self.objects.get("database:", {})

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "server_version_num": self.server_version_num,
            "objects": {key: dict(value) for key, value in self.objects.items()},
            "extensions_offered": {
                name: list(versions) for name, versions in self.extensions_offered.items()
            },
            "locales_offered": list(self.locales_offered),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Catalogue":
        """Read what `to_json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        if data.keys() - {item.name for item in fields(cls)}:
            raise ValueError("a catalogue that says what this version does not know")
        version = data["server_version_num"]
        if type(version) is not int:  # JSON's true and 1.0 equal 1, too
            raise TypeError("a server's version is a number")
        return cls(
            server_version_num=version,
            objects={str(key): _definition(value) for key, value in data["objects"].items()},
            extensions_offered={str(k): tuple(v) for k, v in data.get("extensions_offered", {}).items()},
            locales_offered=tuple(data.get("locales_offered", ())),
        )


def _definition(value: object) -> dict[str, Any]:
    """Read the definition of one object. Raises KeyError, TypeError or ValueError for what can't be one."""
    if not isinstance(value, dict):
        raise TypeError("the definition of an object has names")
    columns = [column["name"] for column in value.get("columns", ())]
    if len(set(columns)) < len(columns):
        raise ValueError("an object with two columns of one name")
    return dict(value)


def read_catalogue(connection: "psycopg.Connection[Any]") -> Catalogue:
    """Read the catalogue of the connected database. Nothing is written; locks and settings are given back.

    Raises psycopg.Error when the server refuses, BackupError when it is older than PostgreSQL 13.
    """
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise BackupError(
            f"The server is version {version // 10000}; PostgreSQL 13 and newer can be verified",
            remedy="verify the restored copy on a newer server, and compare counts by hand",
        )
    objects: dict[str, Mapping[str, Any]] = {}
    with fixed_settings(connection) as cursor:
        cursor.execute(b"SELECT has_table_privilege('pg_catalog.pg_user_mapping', 'SELECT')")
        row = cursor.fetchone()
        texts = [*(query(version) for query in QUERIES), user_mappings(readable=bool(row and row[0]))]
        for text in texts:
            cursor.execute(text.encode())
            for kind, parts, suffix, definition in cursor:
                name = qualified(*(part for part in parts if part)) + suffix
                if kind == "default-privileges":  # an empty schema is part of the name here
                    name = qualified(*parts)
                objects[f"{kind}:{name}"] = _normal(definition)
        cursor.execute(_OFFERED)
        offered = {str(name): tuple(versions) for name, versions in cursor}
        cursor.execute(
            b"SELECT DISTINCT collcollate FROM pg_collation WHERE collprovider = 'c' AND collcollate <> ''"
        )
        locales = {locale_key(str(row[0])) for row in cursor}
        cursor.execute(b"SELECT FROM pg_collation WHERE collprovider = 'i' AND collname ~ '-x-icu$' LIMIT 1")
        if cursor.fetchone() is not None:
            locales.add("icu")
    return Catalogue(
        version, dict(sorted(objects.items())), dict(sorted(offered.items())), tuple(sorted(locales))
    )


def locale_key(name: str) -> str:
    """Return a locale's name without differences of spelling: `es_CL.UTF-8` is `es_cl.utf8`."""
    return name.lower().replace("-", "")


def _normal(definition: dict[str, Any]) -> dict[str, Any]:
    """Order access lists: the server keeps them in the order in which they were granted."""
    if "acl" in definition:
        definition["acl"] = sorted(definition["acl"])
    for column in definition.get("columns", ()):
        if "acl" in column:
            column["acl"] = sorted(column["acl"])
    return definition
