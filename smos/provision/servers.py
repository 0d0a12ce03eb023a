"""Which servers a run starts: programs of this machine, or containers. Both hand over the same typed endpoints."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.target import Provision


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Makes servers of one provisioner. name: as reports say it. Both are called as their embedded classes are."""

    name: str
    openbao: Callable[..., EmbeddedOpenBao]
    postgres: Callable[..., EmbeddedPostgres]


EMBEDDED = Servers(name=Provision.EMBEDDED.value, openbao=EmbeddedOpenBao, postgres=EmbeddedPostgres)


def servers_for(provision: Provision, *, sockets: bool = False) -> Servers:
    """Return what makes this run's servers; `auto` are the embedded ones.

    sockets: PostgreSQL is reached by its socket and by nothing else, as a drill wants it: only a socket lets other
    roles in without a password, and row security is counted as they meet it.
    Raises ProvisionError where containers are asked for and no engine answers.
    """
    if provision is not Provision.DOCKER:
        return EMBEDDED
    from smos.provision.docker.engine import engine
    from smos.provision.docker.openbao import DockerOpenBao
    from smos.provision.docker.postgres import DockerPostgres

    engine()
    postgres = partial(DockerPostgres, no_network=True) if sockets else DockerPostgres
    return Servers(name=Provision.DOCKER.value, openbao=DockerOpenBao, postgres=postgres)
