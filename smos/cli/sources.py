"""From command-line words to the typed endpoints that the library wants."""

from pathlib import Path

import psycopg

from smos.errors import ProvisionError, TargetError
from smos.provision.base import PostgresEndpoint
from smos.provision.installations import PostgresInstallation, choose_installation

DEFAULT_HOST = "localhost"


def existing_postgres(
    host: str | None, port: int, user: str
) -> tuple[PostgresEndpoint, PostgresInstallation]:
    """Connect to a running PostgreSQL; return its endpoint and client tools that are not older than it.

    The password, where one is needed, comes from ~/.pgpass or PGPASSFILE, never from an argument.
    Raises ProvisionError.
    """
    endpoint = PostgresEndpoint(host=host or DEFAULT_HOST, port=port, superuser=user, version_num=0)
    try:
        with psycopg.connect(endpoint.conninfo("postgres", connect_timeout=10)) as connection:
            version = connection.info.server_version
    except psycopg.OperationalError as error:
        raise ProvisionError(
            f"PostgreSQL at {endpoint.host}:{port} does not answer: {error}",
            remedy="check host, port and user; put the password into ~/.pgpass",
        ) from error
    endpoint = PostgresEndpoint(host=endpoint.host, port=port, superuser=user, version_num=version)
    return endpoint, choose_installation(at_least=version // 10000)


def parse_volumes(words: list[str]) -> dict[str, Path]:
    """Turn `NAME=DIRECTORY` words into a mapping. Raises TargetError naming the word that is wrong."""
    volumes = {}
    for word in words:
        name, separator, path = word.partition("=")
        if not separator or not name or not Path(path).is_dir():
            raise TargetError(f"--volume {word}: not NAME=DIRECTORY with a directory that exists")
        volumes[name] = Path(path)
    return volumes
