"""Ways to a host: OpenSSH, a container's engine, or this machine. Each turns a command into one that runs here."""

import os
import pwd
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from smos.errors import DeadlineError
from smos.live.declared import HostTarget, Ssh
from smos.live.errors import LiveError, live_error
from smos.live.stream import Stream
from smos.provision.owner import BASE_ENV, Owner
from smos.wait import wait_for

COMMAND_NOT_FOUND = 127
SSH_FAILED = 255
ALIVE_S = 10
"""Seconds between two signs of life that ssh asks for; three that stay away end the connection."""
_SSH_SAID: tuple[tuple[str, str], ...] = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key .* has changed", "host-key-changed"),
    (r"Host key verification failed|No .* host key is known|revoked host key", "host-key-unknown"),
    (r"Permission denied|Too many authentication failures|no mutual signature", "host-refused-login"),
    (
        r"Could not resolve|Connection refused|timed out|No route to|Network is unreach|kex_exchange|banner exchange",
        "host-unreachable",
    ),
)
"""What ssh writes (OpenSSH, untranslated) to what it means; the first that fits."""


class Transport(Protocol):
    """One way to one host."""

    shown: str
    """The address, for people."""

    def open(self) -> None:
        """Connect. Raises LiveError."""

    def words(self, argv: list[str]) -> list[str]:
        """Return the command that runs here and has `argv` run there. Raises LiveError."""

    def trouble(self, code: int, said: str) -> LiveError | None:
        """Return what an exit code of the way itself means; None where the command itself ended so."""

    def env(self) -> dict[str, str]:
        """Return what the command that runs here needs in its environment."""


def transport_of(host: HostTarget, owner: Owner, agent: Path | None) -> Transport:
    """Return the way that the address names. agent: the socket of the ssh agent, where there is one."""
    split = urlsplit(host.address)
    if split.scheme == "local":
        return Local()
    if split.scheme == "docker":
        return DockerExec(host.address)
    return SshTransport(host.address, host.ssh, owner, agent)


def program(name: str, code: str = "tool-missing") -> str:
    """Return the path of a program of this machine, or of this Python's environment. Raises LiveError."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise live_error(code, f"there is no program `{name}` on this machine")
    return str(Path(found).absolute())


class Local:
    """This machine itself."""

    shown = "local://"

    def __init__(self, path: str = BASE_ENV["PATH"]) -> None:
        self._path = path

    def open(self) -> None:
        """Nothing to do."""

    def words(self, argv: list[str]) -> list[str]:
        """Return it as it is."""
        found = shutil.which(argv[0], path=self._path)
        if found is None:
            raise live_error("host-command-missing", f"there is no command `{argv[0]}` on this host")
        return [found, *argv[1:]]

    def trouble(self, code: int, said: str) -> LiveError | None:  # noqa: ARG002  (the protocol's)
        """Nothing lies between."""
        return None

    def env(self) -> dict[str, str]:
        """Untranslated messages."""
        return {"LC_ALL": "C", "PATH": self._path}


class DockerExec:
    """A container of the engine that the runner's `docker` talks to."""

    def __init__(self, address: str) -> None:
        self.shown = address
        user, _, self._name = address.removeprefix("docker://").rpartition("@")
        self._user = ["--user", user] if user else []

    def open(self) -> None:
        """Nothing to do: every command connects."""

    def words(self, argv: list[str]) -> list[str]:
        """Run it in the container, without a shell."""
        return [program("docker"), "exec", *self._user, self._name, *argv]

    def trouble(self, code: int, said: str) -> LiveError | None:
        """Tell what the engine says apart from what the command says."""
        if code in {126, COMMAND_NOT_FOUND} and "exec failed" in said:
            return live_error("host-command-missing", f"the container has no such command: {_last(said)}")
        if code != 0 and re.search(
            r"No such container|is not running|Cannot connect to the Docker|permission denied", said
        ):
            return live_error("host-unreachable", f"the container can't be entered: {_last(said)}")
        return None

    def env(self) -> dict[str, str]:
        """Docker's client finds its context below the home directory."""
        return {"HOME": home()}


class SshTransport:
    """OpenSSH's own client: one connection that every command shares, the host's key checked strictly.

    What the user configured (jump hosts, agents, certificates) holds; what would weaken the check or open a way back
    (forwarding, pseudo-terminals, keys learnt on the way) is switched off on the command line, which wins.
    """

    def __init__(self, address: str, ssh: Ssh, owner: Owner, agent: Path | None) -> None:
        self.shown = address
        split = urlsplit(address)
        self._owner, self._ssh, self._agent = owner, ssh, agent
        place = owner.socket_directory("ssh")
        if os.geteuid() == 0:  # the socket is a way to the host: nobody else's, not even the servers' user
            os.chown(place, 0, 0)
        place.chmod(0o700)
        self._socket, self._log = place / "s", place / "log"
        self._target = [
            *(["-l", split.username] if split.username else []),
            *(["-p", str(split.port)] if split.port else []),
            "--",
            split.hostname or "",
        ]
        self.options = ssh_options(ssh)

    def open(self) -> None:
        """Connect, and wait until commands can share the connection."""
        ssh = program("ssh", "ssh-missing")
        self._log.unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)
        master = self._owner.spawn(
            [ssh, *self.options, "-o", "ControlMaster=yes", "-S", self._socket, "-N", *self._target],
            name="ssh",
            log=self._log,
            env=self.env(),
            as_service_user=False,
        )

        def answers() -> bool:
            if master.poll() is not None:
                raise self._failed(self._log.read_text(errors="replace"))
            if not self._socket.exists():
                return False
            with Stream(self._owner, [ssh, "-S", str(self._socket), "-O", "check", *self._target]) as check:
                return check.end() == 0

        try:
            wait_for(answers, what=f"{self.shown} lets us in", deadline_s=self._ssh.connect_seconds + 10)
        except DeadlineError:
            master.kill()
            raise live_error("host-unreachable", f"{self.shown} did not answer in time") from None

    def words(self, argv: list[str]) -> list[str]:
        """Run it in the user's shell there, every word quoted; over the open connection, or else a new one."""
        line = " ".join(quoted(word) for word in argv)
        return [
            program("ssh", "ssh-missing"),
            *self.options,
            *("-o", "ControlMaster=no", "-S", str(self._socket)),
            *self._target,
            line,
        ]

    def trouble(self, code: int, said: str) -> LiveError | None:
        """Tell what ssh means: it ends with 255, and the command with its own code."""
        return self._failed(said) if code == SSH_FAILED or code < 0 else None

    def env(self) -> dict[str, str]:
        """Name the agent, where there is one, and the home directory that jump commands look into."""
        agent = {"SSH_AUTH_SOCK": str(self._agent)} if self._agent else {}
        return {"HOME": home(), "LC_ALL": "C", **agent}

    def _failed(self, said: str) -> LiveError:
        for pattern, code in _SSH_SAID:
            if re.search(pattern, said):
                known = self._ssh.known_hosts
                why = (
                    f" ({known.name} is not there)"
                    if code == "host-key-unknown" and known and not known.exists()
                    else ""
                )
                return live_error(
                    code, f"{self.shown}: {_WORDS[code]}{why}", transient=code == "host-unreachable"
                )
        detail = f": {_last(said)}" if said.strip() else ""
        return live_error("connection-lost", f"{self.shown}: the connection was lost{detail}", transient=True)


_WORDS = {
    "host-key-changed": "it shows another key than the known one, so nothing was sent",
    "host-key-unknown": "its key is not known, so nothing was sent",
    "host-refused-login": "it refused who we are",
    "host-unreachable": "it does not answer",
}


def ssh_options(ssh: Ssh) -> list[str]:
    """Return the options that every ssh and sftp of ours gets; ssh takes the first value of each."""
    options = [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",  # known_hosts is never written
        "VerifyHostKeyDNS=no",
        "ForwardAgent=no",
        "ForwardX11=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "RequestTTY=no",
        "Tunnel=no",
        "EscapeChar=none",
        "LogLevel=ERROR",
        f"ConnectTimeout={ssh.connect_seconds}",
        f"ServerAliveInterval={ALIVE_S}",
        "ServerAliveCountMax=3",
    ]
    if ssh.known_hosts is not None:
        options += [
            f"UserKnownHostsFile={_quoted(ssh.known_hosts)}",
            "GlobalKnownHostsFile=none",
            "KnownHostsCommand=none",
        ]
    if ssh.identity_file is not None:
        options += [f"IdentityFile={_quoted(ssh.identity_file)}", "IdentitiesOnly=yes"]
    config = ["-F", str(ssh.config_file)] if ssh.config_file is not None else []
    return [*config, *(word for option in options for word in ("-o", option))]


def quoted(word: str) -> str:
    """Quote a word for a POSIX shell and for fish, where a backslash escapes within single quotes as well.

    Names of files come from the host's own listing: whoever may write there must not run commands as our account.
    """
    if shlex.quote(word) == word:
        return word
    between = re.sub(r"['\\]+", lambda found: "'\"" + found[0].replace("\\", "\\\\") + "\"'", word)
    return f"'{between}'"


def _quoted(path: Path) -> str:
    """Quote a path for ssh's configuration: it splits at spaces, and expands %."""
    return '"' + str(path).replace("%", "%%") + '"'


def home() -> str:
    """Return the home directory that the system names; no setting of ours."""
    return pwd.getpwuid(os.geteuid()).pw_dir


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    text = lines[-1][:200] if lines else "it said nothing"
    return "".join(char if char.isprintable() else "?" for char in text)
