"""pgBackRest repositories (on a directory): pgBackRest itself verifies and restores, this drills, compares and times.

Version 2.45 ends `verify` with exit code 0 on a corrupted repository: its words are read, not its code.
"""

import json
import re
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from smos.physical import listing
from smos.physical.archive import Archive, read_archive
from smos.physical.label import Label
from smos.physical.passphrase import encrypted, read_passphrase
from smos.physical.plain import Prepared, StoreSurvey, coverages, finish, installation_for
from smos.physical.repository import measured, only_name, readable, tool, words_of
from smos.physical.store import BaseBackup, Form
from smos.physical.wal import lsn_number
from smos.provision.owner import Owner
from smos.target import Limits
from smos.verdict import Problem

TOOL_S = 4 * 3600
INFO_S = 300
LARGEST = (1 << 30) + (1 << 20)
"""Bytes of a file that is read whole: the largest segment (1 GiB), encrypted."""
_BAD = re.compile(
    r"status: (error|invalid)|(invalid|missing|other): [1-9]|invalid checksum|invalid size|ERROR|WARN"
)
_GOOD = re.compile(r"verify command end: completed successfully")
VERIFIED = "pgbackrest restore and verify (SHA-1 of every file)"


class PgBackRestStore:
    """Reads the repository at `path`; nothing is written to it."""

    kind = "pgbackrest"

    def __init__(
        self,
        owner: Owner,
        path: Path,
        stanza: str | None,
        limits: Limits,
        passphrase_file: Path | None = None,
    ) -> None:
        """passphrase_file: see smos/physical/passphrase.py; needed where the repository is encrypted."""
        self.owner = owner
        self._passphrase_file = passphrase_file
        self.path = path
        self.limits = limits
        self._wanted = stanza
        self._stanza = ""
        self._common: list[str] = []
        self._place: Path | None = None
        self._copied_s = 0.0

    def listing(self) -> listing.Listing:
        """Return the repository as it stands."""
        return listing.take(self.path)

    def survey(self) -> StoreSurvey:
        """Ask pgBackRest what is there; the archive's files are listed by us."""
        program, problems = tool("pgbackrest", "pgbackrest")
        stanza, more = only_name(self.path / "backup", self._wanted)
        problems += more
        nothing = Archive(directory="", there=False, segment_bytes=16 << 20)
        if program is None or stanza is None:
            return StoreSurvey(backups=(), archive=nothing, coverages={}, problems=problems)
        passphrase, more = self._passphrase(stanza)
        problems += more
        if any(problem.code != "passphrase-exposed" for problem in more):
            return StoreSurvey(backups=(), archive=nothing, coverages={}, problems=problems)
        self._place, self._copied_s, more = readable(self.owner, self.path, self.limits)
        if self._place is None:
            return StoreSurvey(backups=(), archive=nothing, coverages={}, problems=(*problems, *more))
        self._stanza = stanza
        self._common = [program, f"--config={self._config(passphrase)}", f"--stanza={stanza}"]
        if passphrase is not None and not self._opens(stanza):
            detail = f"{self._passphrase_file} does not open {self.path} (or its backup.info is damaged)"
            problems += (Problem("passphrase-wrong", detail),)
            return StoreSurvey(backups=(), archive=nothing, coverages={}, problems=problems)
        done = self.owner.run([*self._common, "--output=json", "info"], timeout_s=INFO_S, check=False)
        try:
            info: Any = json.loads(done.stdout.decode("utf-8", "replace"))[0]
            backups = _backups(info, self.path)
            identifier, earlier = _current(info)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            words = words_of(done.stdout + done.stderr, ("ERROR",)) or type(error).__name__
            problem = Problem("tool-unclear", f"pgbackrest info gives no answer that can be read: {words}")
            return StoreSurvey(backups=(), archive=nothing, coverages={}, problems=(*problems, problem))
        folder = f"archive/{stanza}/{identifier}"
        archive = read_archive(
            self.path / folder if identifier else None,
            opened=(lambda relative: self._opened(f"{folder}/{relative}")) if passphrase else None,
        )
        before = f"; {earlier} backups of the cluster before an upgrade were not looked at" if earlier else ""
        return StoreSurvey(
            backups=backups,
            archive=archive,
            coverages=coverages(backups, archive),
            problems=(*problems, *self._verify()),
            tool=f"pgbackrest, stanza {stanza}{', encrypted' if passphrase else ''}{before}",
        )

    def _passphrase(self, stanza: str) -> tuple[SecretStr | None, tuple[Problem, ...]]:
        """Return the passphrase where the repository is encrypted, and what stands against opening it."""
        heads = [self.path / "backup" / stanza / name for name in ("backup.info", "backup.info.copy")]
        if any(encrypted(head) for head in heads):
            passphrase, problems = read_passphrase(self._passphrase_file)
            if passphrase is None and not problems:
                detail = f"{self.path} is encrypted, and the target names no passphrase"
                problems = (Problem("passphrase-missing", detail),)
            return passphrase, problems
        if self._passphrase_file is not None and any(head.is_file() for head in heads):
            detail = f"{self.path} is not encrypted, and physical.passphrase_file says that it is"
            return None, (Problem("repository-plain", detail),)
        return None, ()

    def _opens(self, stanza: str) -> bool:
        """Tell whether the passphrase is the right one; what pgBackRest says where it is not depends on chance."""
        for name in ("backup.info", "backup.info.copy"):
            try:
                if self._opened(f"backup/{stanza}/{name}").startswith(b"["):
                    return True
            except OSError:
                continue
        return False

    def _opened(self, relative: str) -> bytes:
        """Return a file of the repository, decrypted, still compressed. Raises OSError."""
        if (size := (self.path / relative).stat().st_size) > LARGEST:
            raise OSError(f"it holds {size} bytes, more than any segment")
        done = self.owner.run([*self._common, "repo-get", relative], timeout_s=INFO_S, check=False)
        if done.returncode != 0:
            raise OSError(f"pgbackrest repo-get ended with {done.returncode}")
        return done.stdout

    def prepare(self, backup: BaseBackup, _survey: StoreSurvey) -> Prepared:
        """Let pgBackRest restore a backup with all that it builds on, into the sandbox."""
        problems = list(backup.problems)
        installation, trouble = installation_for(self.owner, backup)
        problems += trouble
        room = self.owner.directory("restored")
        data = room / "data"
        spaces = room / "spaces"  # a directory of their own: a tablespace may be called `data` as well
        for place in (data, spaces):
            place.mkdir(mode=0o700)
            self.owner.give(place)
        started = time.monotonic()
        done = self.owner.run(
            [
                *self._common,
                f"--set={backup.id}",
                f"--pg1-path={data}",
                f"--tablespace-map-all={spaces}",
                "--type=none",
                "restore",
            ],
            timeout_s=TOOL_S,
            check=False,
        )
        seconds = time.monotonic() - started
        if done.returncode != 0:
            words = words_of(done.stdout + done.stderr, ("ERROR", "WARN")) or f"exit code {done.returncode}"
            problems.append(Problem("tool-restore-failed", f"{backup.id}: {words}"))
        restored = done.returncode == 0
        fetched = measured(data, seconds) if restored else None
        problems += fetched.problems if fetched else ()
        return finish(
            self.owner,
            backup=backup,
            links=(backup,),
            fetched=fetched,
            installation=installation,
            verified_with=VERIFIED if restored else "",
            seconds=(seconds + self._copied_s, 0.0, 0.0),
            problems=problems,
        )

    def log_for(self, _prepared: Prepared, _survey: StoreSurvey) -> tuple[str, tuple[Problem, ...]]:
        """Let the sandbox fetch each segment by pgBackRest."""
        words = " ".join(shlex.quote(word).replace("%", "%%") for word in self._common)
        return f'{words} --pg1-path="$(pwd)" archive-get %f "%p"', ()

    def _config(self, passphrase: SecretStr | None) -> Path:
        """Write a configuration of ours: the repository, and nothing that runs anything."""
        scratch = self.owner.directory("pgbackrest")
        path = self.owner.directory("pgbackrest-etc", read_only=True) / "pgbackrest.conf"
        lines = [
            "[global]",
            f"repo1-path={self._place}",
            *(
                ["repo1-cipher-type=aes-256-cbc", f"repo1-cipher-pass={passphrase.get_secret_value()}"]
                if passphrase
                else []
            ),
            f"lock-path={scratch}/lock",
            f"log-path={scratch}",
            f"spool-path={scratch}",
            "log-level-console=info",
            "log-level-file=off",
            "process-max=2",
            f"[{self._stanza}]",
            f"pg1-path={scratch}/nothing",
        ]
        self.owner.write(path, "\n".join(lines) + "\n")
        return path

    def _verify(self) -> tuple[Problem, ...]:
        done = self.owner.run([*self._common, "verify"], timeout_s=TOOL_S, check=False)
        return read_verify(done.returncode, done.stdout + done.stderr)


def read_verify(code: int, output: bytes) -> tuple[Problem, ...]:
    """Read the words of `pgbackrest verify`. Codes: tool-verify-failed; tool-unclear where it says neither."""
    text = output.decode("utf-8", "replace")
    bad = [line.strip() for line in text.splitlines() if _BAD.search(line)]
    if bad or code != 0:
        words = "; ".join(bad[:6])[:400] or f"exit code {code}"
        return (Problem("tool-verify-failed", f"pgbackrest verify: {words}"),)
    if not _GOOD.search(text):
        return (Problem("tool-unclear", "pgbackrest verify does not say that it completed"),)
    return ()


def _current(info: Any) -> tuple[str, int]:
    """Return the ID of the archive that is in use ("" for none), and how many backups are of an earlier cluster.

    After `stanza-upgrade` a stanza holds the backups of the cluster before as well, until they expire.
    """
    newest = max(item["id"] for item in info["db"])
    archives = [str(item["id"]) for item in info["archive"] if item["database"]["id"] == newest]
    return archives[-1] if archives else "", sum(item["database"]["id"] != newest for item in info["backup"])


def _backups(info: Any, path: Path) -> tuple[BaseBackup, ...]:
    """Read `pgbackrest info --output=json`: the backups of the cluster that the stanza serves now.

    Raises LookupError, TypeError, ValueError for anything else.
    """
    databases: dict[int, Any] = {item["id"]: item for item in info["db"]}
    newest = max(databases)
    found = []
    for item in info["backup"]:
        if item["database"]["id"] != newest:
            continue
        database = databases[newest]
        start = str(item["archive"]["start"])
        began = datetime.fromtimestamp(int(item["timestamp"]["start"]), UTC)
        problems = []
        if item.get("error"):
            detail = f"{item['label']}: pgBackRest met damaged pages when it took this backup"
            problems.append(Problem("page-damaged", detail))
        lsn = lsn_number(str(item["lsn"]["start"]))
        found.append(
            BaseBackup(
                id=str(item["label"]),
                form=Form.PGBACKREST,
                place=path,
                major=int(str(database["version"]).partition(".")[0]),
                label=Label(
                    start_lsn=lsn,
                    start_segment=start,
                    timeline=int(start[:8], 16),
                    started=began,
                    time_text=began.isoformat(),
                    method="pgbackrest",
                    from_standby=False,
                ),
                started=datetime.fromtimestamp(int(item["timestamp"]["stop"]), UTC),
                finished=datetime.fromtimestamp(int(item["timestamp"]["stop"]), UTC),
                system_identifier=int(database["system-id"]),
                problems=tuple(problems),
            )
        )
    return tuple(sorted(found, key=lambda backup: (backup.start_lsn, backup.id)))
