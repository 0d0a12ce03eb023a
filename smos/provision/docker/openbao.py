"""OpenBao in a container: what the embedded server is, and does, with an image's program instead of the wheel's.

Its directories are mounted at the paths that they have outside, so that a check finds the audit log, the storage and
the configuration where it looks for them. In a private network it is reached by TLS on a claimed loopback port; without
a network, by its socket in a mounted directory. The compose stack's configuration is used as it is: what it names lies
where the stack puts it.
"""

import json
from pathlib import Path
from typing import Any

from smos.provision.base import ServerProcess, VaultEndpoint
from smos.provision.certificates import make_certificate
from smos.provision.docker.catalogue import image_of
from smos.provision.docker.contained import Contained
from smos.provision.docker.containers import Place, containers_of
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner

PROGRAM = "bao"
API, CLUSTER = 8200, 8201
"""Ports inside of the container."""
LOCAL = "127.0.0.1:"
STACK_DATA, STACK_TLS, STACK_AUDIT = "/vault/data", "/vault/tls", "/vault/audit"
"""Where compose/vault.yml mounts them."""
CERTIFIED = "localhost"
"""The name in every certificate; peers know each other by other names."""


class DockerOpenBao(Contained, EmbeddedOpenBao):
    """One OpenBao server in a container of its owner's. Options: of EmbeddedOpenBao.

    work_volume: a volume that its working directory with the audit log lies in, instead of a directory.
    """

    def __init__(self, owner: Owner, *, name: str, work_volume: str | None = None, **options: Any) -> None:
        self._work_volume = work_volume
        self._containers = containers_of(owner)
        self._image = image_of("openbao")
        self._by_tls = not options.get("no_network") and options.get("tls") is None
        if self._by_tls:
            directory = owner.directory(f"{name}-tls", read_only=True)
            options["tls"] = make_certificate(owner, directory)
        super().__init__(owner, name=name, **options)
        self.host = self._home.name.replace("-etc-", "-")
        """Its name in the private network."""
        if self._port is not None:
            self._containers.authorities[self._port.port] = f"{self.host}:{API}"

    @property
    def endpoint(self) -> VaultEndpoint:
        """Where it is reached: TLS on a loopback port; its socket where it has no network.

        The socket also where `tls` was given: then the listener is what is looked at, or broken.
        """
        return self.tls_endpoint if self._by_tls else super().endpoint

    @property
    def peer_words(self) -> dict[str, str]:
        """What another container needs to join this one: its name in the private network."""
        return {"leader_api_addr": f"https://{self.host}:{API}", "leader_tls_servername": CERTIFIED}

    @property
    def work_dir(self) -> Path:
        """Its working directory, at the same path inside."""
        return self._work

    @property
    def configuration_dir(self) -> Path:
        """Where its configuration lies; it can't change it."""
        return self._home

    def _find_program(self, owner: Owner) -> Path:  # noqa: ARG002  (the image brings it)
        return Path(PROGRAM)

    def _launch(self, configs: list[Path]) -> ServerProcess:
        self._discard()
        stack = self._stack is not None
        places = [
            Place(outside=self._owner.run_dir, read_only=True),
            Place(outside=self._socket.parent),
            Place(outside=self.data_dir, inside=STACK_DATA if stack else None),
        ]
        work = STACK_AUDIT if stack else str(self._work)
        if self._work_volume is None:
            places.append(Place(outside=self._work, inside=work))
        if self._tls is not None:
            inside = STACK_TLS if stack else None
            places.append(Place(outside=self._tls.certificate.parent, inside=inside, read_only=True))
        environment = self._environment()
        if stack:
            environment["TMPDIR"] = STACK_AUDIT
        return self._containers.run(
            self._image,
            [PROGRAM, "server", *(f"-config={path}" for path in configs)],
            name=self.host,
            log=self._log,
            places=places,
            volumes={self._work_volume: work} if self._work_volume is not None else None,
            env=environment,
            cwd=work,
            no_network=self._no_network,
            ports={API: self._port.port} if self._port is not None else None,
        )

    def _write_configuration(self) -> list[Path]:
        if self._stack is None:
            return super()._write_configuration()
        self._owner.write(self.config_path, self._stack)
        addition = self._home / "socket.json"
        self._owner.write(addition, json.dumps({"listener": [self._unix_listener()]}))
        return [self.config_path, addition]

    def _adjusted(self) -> dict[str, Any]:
        """Exchange the loopback addresses that mean another container, or this one from outside."""
        configuration = super()._adjusted()
        for listener in configuration["listener"]:
            tcp = listener.get("tcp", {})
            if self._port is not None and tcp.get("address") == self._port.address:
                tcp["address"] = f"0.0.0.0:{API}"
                if self._is_claimed(tcp.get("cluster_address")):
                    tcp["cluster_address"] = f"0.0.0.0:{CLUSTER}"
                    configuration["api_addr"] = f"https://{self.host}:{API}"
                    configuration["cluster_addr"] = f"https://{self.host}:{CLUSTER}"
        for joins in configuration["storage"].get("raft", {}).get("retry_join", []):
            port = int(str(joins["leader_api_addr"]).rpartition(":")[2])
            if (authority := self._containers.authorities.get(port)) is not None:
                joins["leader_api_addr"] = f"https://{authority}"
                joins["leader_tls_servername"] = CERTIFIED
        return configuration

    @staticmethod
    def _is_claimed(address: object) -> bool:
        """Whether it names a port on loopback, not one that the kernel chooses."""
        return str(address).startswith(LOCAL) and address != f"{LOCAL}0"
