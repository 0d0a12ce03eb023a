"""Barman catalogues: `barman recover` restores, this drills, compares and times.

Read without the server's own configuration (which may hold hooks): a configuration of ours names the same home.
`barman verify-backup` fails on sound compressed backups, so it is not asked: what Barman restored is compared with the
manifest that it carries.
"""

import ast
import time
from datetime import UTC, datetime
from pathlib import Path

from smos.paths import read_part
from smos.physical import listing, staging, tools
from smos.physical.archive import Archive, read_archive
from smos.physical.label import Label, LabelError, read_label, read_manifest_head
from smos.physical.plain import Prepared, StoreSurvey, coverages, finish, installation_for
from smos.physical.repository import measured, only_name, readable, tool, words_of
from smos.physical.store import BaseBackup, Form
from smos.physical.wal import lsn_number
from smos.provision.owner import Owner
from smos.provision.users import server_user
from smos.target import Limits
from smos.verdict import Problem

TOOL_S = 4 * 3600
LONGEST_INFO = 1 << 20
UNREADABLE = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)
"""What Python's parser and ours raise for what is no value, or one that is nested too deeply."""
CHANGED = (
    "postgresql.conf",
    "postgresql.conf.origin",
    "postgresql.auto.conf",
    "postgresql.auto.conf.origin",
    "tablespace_map",
)
"""Files that `barman recover` rewrites, to take dangerous settings out, or takes away, where it has made the links."""
LOG = "barman_wal"
"""Where `barman recover` puts the log, below the data directory, when it is told a timeline."""


class BarmanStore:
    """Reads the barman_home at `path`; nothing is written to it."""

    kind = "barman"

    def __init__(self, owner: Owner, path: Path, server: str | None, limits: Limits) -> None:
        self.owner = owner
        self.path = path
        self.limits = limits
        self._wanted = server
        self._server = ""
        self._common: list[str] = []
        self._copied_s = 0.0

    def listing(self) -> listing.Listing:
        """Return the catalogue as it stands."""
        return listing.take(self.path)

    def survey(self) -> StoreSurvey:
        """Read the catalogue's descriptions of its backups, and the archive's files."""
        program, problems = tool("barman", "barman")
        server, more = only_name(self.path, self._wanted)
        problems += more
        nothing = Archive(directory="", there=False, segment_bytes=16 << 20)
        if program is None or server is None:
            return StoreSurvey(backups=(), archive=nothing, coverages={}, problems=problems)
        place, self._copied_s, more = readable(self.owner, self.path, self.limits)
        if place is None:
            return StoreSurvey(backups=(), archive=nothing, coverages={}, problems=(*problems, *more))
        self._server = server
        self._common = [program, "-c", str(self._config(place))]
        folder = self.path / server / "base"
        infos = sorted(folder.glob("*/backup.info")) if folder.is_dir() else []
        backups = tuple(sorted((_backup(item) for item in infos), key=lambda one: (one.start_lsn, one.id)))
        archive = read_archive(self.path / server / "wals")
        return StoreSurvey(
            backups=backups,
            archive=archive,
            coverages=coverages(backups, archive),
            problems=problems,
            tool=f"barman, server {server}",
        )

    def prepare(self, backup: BaseBackup, _survey: StoreSurvey) -> Prepared:
        """Let Barman recover a backup, with the log that follows it, into the sandbox; compare it with its manifest."""
        problems = list(backup.problems)
        installation, trouble = installation_for(self.owner, backup)
        problems += trouble
        room = self.owner.directory("restored")
        data = room / "data"
        words = [*self._common, "recover", self._server, backup.id, str(data)]
        # Where one is not mapped, Barman restores it to where the source has it.
        words += [f"--tablespace={name}:{room}/space-{number}" for number, name in enumerate(_spaces(backup))]
        words += ["--target-tli=latest"]  # else the log after a promotion is left behind
        started = time.monotonic()
        done = self.owner.run(words, timeout_s=TOOL_S, env={"HOME": str(room)}, check=False)
        seconds = time.monotonic() - started
        if done.returncode != 0:
            said = (
                words_of(done.stdout + done.stderr, ("ERROR", "EXCEPTION")) or f"exit code {done.returncode}"
            )
            problems.append(Problem("tool-restore-failed", f"{backup.id}: {said}"))
        verified, verify_s = False, 0.0
        restored = measured(data, seconds) if done.returncode == 0 else None
        problems += restored.problems if restored else ()
        # What holds anything strange is not opened: to read a FIFO would wait for ever.
        sound = restored is not None and not restored.problems
        manifest = next(iter(data.glob("backup_manifest*")), None) if sound else None
        if manifest is not None and manifest.is_file() and installation is not None:
            started = time.monotonic()
            try:
                if read_manifest_head(manifest.read_bytes()).unhashed:
                    problems.append(
                        Problem("manifest-unhashed", f"{backup.id}: its manifest holds no checksums")
                    )
                if manifest.name != "backup_manifest":
                    manifest.rename(data / "backup_manifest")
                problems += tools.verify(
                    self.owner,
                    installation,
                    data,
                    parse_log=False,
                    ignore=(*CHANGED, LOG, ".barman-recover.info"),
                )
                verified = True
            except LabelError as error:
                problems.append(Problem("manifest-damaged", f"{backup.id}: {error}"))
            verify_s = time.monotonic() - started
        return finish(
            self.owner,
            backup=backup,
            links=(backup,),
            fetched=restored,
            installation=installation,
            verified_with="pg_verifybackup after barman recover" if verified else "",
            seconds=(seconds + self._copied_s, verify_s, 0.0),
            problems=problems,
        )

    def log_for(self, _prepared: Prepared, _survey: StoreSurvey) -> tuple[str, tuple[Problem, ...]]:
        """Barman has put the log beside the data: the sandbox takes it from there."""
        return staging.restore_command(Path(LOG)), ()

    def _config(self, place: Path) -> Path:
        scratch = self.owner.directory("barman")
        path = self.owner.directory("barman-etc", read_only=True) / "barman.conf"
        lines = [
            "[barman]",
            f"barman_home={place}",
            f"barman_user={server_user()}",
            f"barman_lock_directory={scratch}",
            f"log_file={scratch}/barman.log",
            f"[{self._server}]",
            "description=drill",
            "conninfo=host=/nonexistent",
            "backup_method=postgres",
            "archiver=on",
            f"recovery_staging_path={scratch}",  # where Barman puts compressed backups before it unpacks them
        ]
        self.owner.write(path, "\n".join(lines) + "\n")
        return path


def _backup(path: Path) -> BaseBackup:
    """Read one backup.info. What it does not say stays unknown, and is a problem."""
    identifier = path.parent.name
    problems: list[Problem] = []
    try:
        lines = _lines(path)
    except OSError as error:
        problem = Problem("backup-unread", f"{identifier}: backup.info: {error.strerror}")
        return BaseBackup(
            id=identifier, form=Form.BARMAN, place=path.parent, major=0, label=None, problems=(problem,)
        )
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    label: Label | None = None
    started = None
    if values.get("status") not in {"DONE", "WAITING_FOR_WALS"}:
        status = values.get("status", "unknown")
        problems.append(
            Problem("tool-backup-failed", f"{identifier}: Barman says that its status is {status[:40]}")
        )
    else:
        try:
            label = _label(values)
            started = label.started
        except (LabelError, KeyError, *UNREADABLE) as error:
            problems.append(Problem("label-damaged", f"{identifier}: backup.info: {error}"))
    version = values.get("version", "")
    return BaseBackup(
        id=identifier,
        form=Form.BARMAN,
        place=path.parent,
        major=int(version) // 10000 if version.isdecimal() else 0,
        label=label,
        started=started,
        system_identifier=int(values["systemid"]) if values.get("systemid", "").isdecimal() else None,
        problems=tuple(problems),
    )


def _label(values: dict[str, str]) -> Label:
    """Return the label: the server's own where Barman kept it. Barman's begin_time lies before the backup's start."""
    text = values.get("backup_label", "None")
    if text != "None":
        return read_label(str(ast.literal_eval(text)))
    ended = datetime.fromisoformat(values["end_time"])
    return Label(
        start_lsn=lsn_number(values["begin_xlog"]),
        start_segment=values["begin_wal"],
        timeline=int(values["timeline"]),
        started=ended.astimezone(UTC) if ended.tzinfo else None,
        time_text=values["end_time"],
        method="barman",
        from_standby=False,
    )


def _spaces(backup: BaseBackup) -> tuple[str, ...]:
    """Return the names of the backup's tablespaces, by which Barman maps them; of several lines it obeys the last."""
    try:
        lines = _lines(backup.place / "backup.info")
        texts = [line.partition("=")[2] for line in lines if line.startswith("tablespaces=")]
        found = ast.literal_eval(texts[-1]) if texts else None
        return tuple(str(item[0]) for item in found or ())
    except (OSError, IndexError, *UNREADABLE):
        return ()


def _lines(path: Path) -> list[str]:
    """Return the lines of a backup.info. Raises OSError."""
    return read_part(path, LONGEST_INFO).decode("utf-8", "replace").splitlines()
