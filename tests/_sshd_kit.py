"""A real sshd on loopback: host key, user and backup directory of its own, and a record of every command."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from smos.provision.owner import OwnedProcess, Owner
from smos.provision.ports import PortClaim
from smos.wait import wait_for

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
LOCK = Path(tempfile.gettempdir()) / "smos-test-users.lock"
"""Several workers make users at once; the system's own lock gives up after a while."""
SFTP_SERVER = next(
    (
        path
        for path in (
            "/usr/lib/openssh/sftp-server",
            "/usr/libexec/openssh/sftp-server",
            "/usr/libexec/sftp-server",
        )
        if Path(path).exists()
    ),
    "internal-sftp",
)
KEYGEN = shutil.which("ssh-keygen")
needs_sshd = pytest.mark.skipif(
    not (SSHD and KEYGEN and shutil.which("ssh")),
    reason="openssh-server is not installed: a real sshd is needed",
)


def keygen(path: Path) -> None:
    subprocess.run([KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=60)


@dataclass
class Sshd:
    """directory: everything of it; backups: the host's backup directory; tools: first in PATH of every command."""

    directory: Path
    claim: PortClaim
    user: str
    process: OwnedProcess | None = None

    @property
    def port(self) -> int:
        return self.claim.port

    @property
    def address(self) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    @property
    def backups(self) -> Path:
        return self.directory / "backups"

    @property
    def tools(self) -> Path:
        return self.directory / "tools"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def identity(self) -> Path:
        return self.directory / "client"

    @property
    def commands(self) -> list[str]:
        log = self.directory / "record" / "commands"
        return log.read_text().splitlines() if log.exists() else []

    def forget_commands(self) -> None:
        (self.directory / "record" / "commands").unlink(missing_ok=True)

    def tool(self, name: str, script: str) -> None:
        """Put a command in front of the host's own; every file of it runs as the user."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def clear_tools(self) -> None:
        for path in self.tools.iterdir():
            path.unlink()

    def start(self, owner: Owner) -> None:
        self.process = owner.spawn(
            [SSHD, "-D", "-e", "-f", self.directory / "sshd_config"],
            name="sshd",
            log=self.directory / "sshd.log",
            as_service_user=False,
        )
        scan = ["ssh-keyscan", "-T", "5", "-p", str(self.port), "127.0.0.1"]

        def listens() -> bool:
            return bool(subprocess.run(scan, capture_output=True, timeout=60, check=False).stdout)

        wait_for(
            listens,
            what="sshd listens",
            deadline_s=60,
            on_timeout=(self.directory / "sshd.log").read_text,
        )

    def new_host_key(self) -> None:
        for path in self.directory.glob("host*"):
            path.unlink()
        keygen(self.directory / "host")

    def trust(self) -> None:
        key = (self.directory / "host.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {' '.join(key)}\n")


@contextmanager
def host(owner: Owner, label: str) -> Iterator[Sshd]:
    """Give a running host with a user of its own; both are gone afterwards.

    Not below pytest's own directory: every pytest that starts closes that for other users again.
    """
    directory = Path(tempfile.mkdtemp(prefix="smos-sshd-"))
    name = f"smos{label}{os.getpid()}"
    try:
        sshd = make_sshd(owner, directory, make_user(name, directory))
        yield sshd
        sshd.process.kill()
        sshd.claim.release()
    finally:
        remove_user(name)
        shutil.rmtree(directory)


def make_sshd(owner: Owner, directory: Path, user: str) -> Sshd:
    """Set one up and start it. user: somebody with a shell who is not locked."""
    directory.chmod(0o755)
    sshd = Sshd(directory, PortClaim(), user)
    uid = pwd.getpwnam(user).pw_uid
    for path in (sshd.backups, sshd.tools, directory / "record"):
        path.mkdir(mode=0o755)
    if os.geteuid() == 0:
        os.chown(directory / "record", uid, -1)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    keygen(sshd.identity)
    shutil.copyfile(directory / "client.pub", directory / "authorized_keys")
    recorder = directory / "recorder"
    recorder.write_text(
        "#!/bin/sh\n"
        f'PATH="{sshd.tools}:$PATH"; export PATH\n'
        f"printf '%s\\n' \"$SSH_ORIGINAL_COMMAND\" >> {directory}/record/commands\n"
        'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    recorder.chmod(0o755)
    (directory / "sshd_config").write_text(
        f"Port {sshd.port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nAcceptEnv LANG LC_*\nSubsystem sftp {SFTP_SERVER}\nMaxSessions 20\n"
        f"MaxStartups 100\nForceCommand {recorder}\n"
    )
    sshd.new_host_key()
    sshd.trust()
    sshd.start(owner)
    return sshd


def make_user(name: str, home: Path) -> str:
    """Make a system user, where this is root; else return who this is."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    with FileLock(LOCK, timeout=120):
        _make_user(name, home)
    return name


def _make_user(name: str, home: Path) -> None:
    subprocess.run(
        [
            "useradd",
            "--system",
            "--no-create-home",
            "--home-dir",
            str(home),
            "--shell",
            "/bin/sh",
            "-p",
            "*",
            name,
        ],
        check=True,
        timeout=60,
        capture_output=True,
    )


def remove_user(name: str) -> None:
    if os.geteuid() == 0:
        with FileLock(LOCK, timeout=120):  # --force: its last session may still be ending
            subprocess.run(["userdel", "--force", name], check=False, timeout=60, capture_output=True)
