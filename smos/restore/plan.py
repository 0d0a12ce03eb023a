"""What a restore will do, step by step, before it does anything: what `--dry-run` shows is what is then done."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from smos.backup.manifest import Manifest
from smos.drill.plan import VolumeSource
from smos.drill.restore_facts import DumpSource
from smos.drill.sandbox import SYSTEM_DATABASES
from smos.errors import BackupError
from smos.restore.exchange import check_place
from smos.restore.server import ServerFacts
from smos.restore.swap import Left, Names, check_name, left_over


@dataclass(frozen=True, slots=True)
class Step:
    """One step. action: a word; subject: what it concerns; detail: how."""

    action: str
    subject: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for. databases, volumes: empty means none of the kind. safety: None to take no backup before."""

    databases: tuple[str, ...]
    volumes: dict[str, Path]
    safety: Path | None
    keep_old: bool = False
    with_logins: bool = False
    accept_differences: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlanned:
    """The plan. dumps: each with its names. clean: databases that interrupted runs left unfinished."""

    id: str
    set_id: str
    taken: str
    signature: str
    request: Request
    dumps: tuple[tuple[DumpSource, Names], ...]
    volumes: tuple[tuple[VolumeSource, Path], ...]
    roles: tuple[str, ...]
    clean: tuple[Left, ...]
    kept: tuple[Left, ...]
    attached: tuple[tuple[str, str], ...] = ()
    """What hangs on a database that is replaced, and doesn't come back: its name, and a replication slot or so."""
    steps: tuple[Step, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` shows."""
        return {
            "set": self.set_id,
            "taken": self.taken,
            "signature": self.signature,
            "steps": [asdict(step) for step in self.steps],
            "kept_from_earlier": [item.database for item in self.kept],
            "not_carried_over": [{"database": name, "what": what} for name, what in self.attached],
        }


def make_restore_plan(
    manifest: Manifest,
    signature: str,
    dumps: Sequence[DumpSource],
    volumes: Sequence[VolumeSource],
    roles: Sequence[str],
    request: Request,
    server: ServerFacts | None,
) -> RestorePlanned:
    """Return the plan. roles: those that the dumps name. Raises BackupError for what can't be done."""
    id_ = secrets.token_hex(4)
    by_name = {source.database: source for source in dumps}
    by_volume = {source.name: source for source in volumes}
    missing = [name for name in request.databases if name not in by_name]
    missing += [name for name in request.volumes if name not in by_volume]
    if missing:
        raise BackupError(
            f"{manifest.set_id} does not hold {', '.join(missing)}",
            remedy=f"it holds {', '.join([*map(str, by_name), *by_volume]) or 'nothing that can be restored'}",
        )
    for name in request.databases:
        if name in SYSTEM_DATABASES:
            raise BackupError(
                f"{name} belongs to the server itself and can't be swapped", remedy="leave it out"
            )
        check_name(name)
    for name, place in request.volumes.items():
        check_place(name, place)
    if server is not None:
        newer = [
            e.name for e in manifest.databases if e.server_version_num // 10000 > server.version_num // 10000
        ]
        if set(newer) & set(request.databases):
            raise BackupError(
                f"{', '.join(newer)}: dumped from a newer PostgreSQL than this server is",
                remedy="restore into a server of the same major version or a newer one",
            )
    there = server.databases if server else ()
    left = left_over(there)
    planned = RestorePlanned(
        id=id_,
        set_id=manifest.set_id,
        taken=manifest.started.isoformat(),
        signature=signature,
        request=request,
        dumps=tuple(
            (by_name[name], Names(name=name, id=id_, exists=name in there)) for name in request.databases
        ),
        volumes=tuple((by_volume[name], place) for name, place in sorted(request.volumes.items())),
        roles=tuple(sorted(set(roles) - (server.roles if server else set()))) if request.databases else (),
        clean=tuple(item for item in left if item.state == "restore"),
        kept=tuple(item for item in left if item.state == "old"),
        attached=tuple(item for item in (server.attached if server else ()) if item[0] in request.databases),
    )
    return _with_steps(planned)


def _with_steps(plan: RestorePlanned) -> RestorePlanned:
    request = plan.request
    steps = [Step("clean", item.database, "left unfinished by an interrupted restore") for item in plan.clean]
    existing = [names.name for _, names in plan.dumps if names.exists]
    existing += [source.name for source, place in plan.volumes if place.exists()]
    if existing and request.safety is not None:
        steps.append(Step("safety-backup", ", ".join(existing), f"to {request.safety}"))
    how = "as the backup says" if request.with_logins else "without a login: give it one afterwards"
    steps += [Step("create-role", role, how) for role in plan.roles]
    steps += [
        Step("restore-database", n.name, f"into {shorn(n.new, plan.id)}, which nobody uses")
        for _, n in plan.dumps
    ]
    steps += [Step("restore-volume", source.name, f"beside {place}") for source, place in plan.volumes]
    steps += [Step("verify", n.name, "content against the manifest") for _, n in plan.dumps]
    steps += [
        Step("verify", source.name, "every entry against the list of entries") for source, _ in plan.volumes
    ]
    for _, n in plan.dumps:
        detail = (
            f"the one in use becomes {shorn(n.old, plan.id)}; its sessions are ended"
            if n.exists
            else "a new one"
        )
        steps.append(Step("swap-database", n.name, detail))
    for source, place in plan.volumes:
        steps.append(Step("swap-volume", source.name, f"{place}: exchanged in one step"))
    if not request.keep_old:
        steps += [Step("remove-old", n.name, shorn(n.old, plan.id)) for _, n in plan.dumps if n.exists]
        steps += [
            Step("remove-old", s.name, "the old directory") for s, place in plan.volumes if place.exists()
        ]
    return replace(plan, steps=tuple(steps))


def shorn(name: str, id_: str) -> str:
    """Return a temporary name without its random part, which is another in every run."""
    return name.replace(id_, "…")
