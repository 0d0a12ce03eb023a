"""VAULT-05: versions of secrets: check-and-set, history, deletion that can be undone, destruction that can't."""

from dataclasses import replace
from functools import partial
from typing import Any

import hvac

from smos.vault.model import status_of
from smos.vault.verify.api import Api
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.notes import Notes
from smos.vault.verify.probe import ProbeFacts, probe

PLATFORM = ("platform-versioned", "platform-keeps")
FEWEST = 2
"""Versions that a mount must keep at least, so that an overwritten one can be had back."""
SCRATCH = (
    "written",
    "cas-right",
    "cas-stale",
    "cas-create-only",
    "cas-required",
    "history",
    "old-version",
    "deleted-hidden",
    "deleted-kept",
    "undeleted",
    "destroyed-hidden",
    "destroyed-for-good",
    "oldest-pruned",
    "newest-kept",
    "removed-whole",
)
MOST = 3
ROLE = "backup"
"""A role that may see the mounts; used where the verification has no token of its own."""


class Kv:
    """One KV v2 mount, seen with one client."""

    def __init__(self, api: Api, mount: str) -> None:
        self.api = api
        self.mount = mount

    def write(self, path: str, value: str, cas: int | None = None) -> int:
        """Write a version, return its number."""
        options = {} if cas is None else {"cas": cas}
        answer = self.api.post(f"{self.mount}/data/{path}", data={"value": value}, options=options)
        return int(answer["data"]["version"])

    def read(self, path: str, version: int = 0) -> str:
        """Return a version's value (0: the newest)."""
        answer = self.api.get(f"{self.mount}/data/{path}", version=version)
        return str(answer["data"]["data"]["value"])

    def versions(self, path: str) -> dict[str, dict[str, Any]]:
        """Return the history: version to its times."""
        found: dict[str, dict[str, Any]] = self.metadata(path)["versions"]
        return found

    def metadata(self, path: str) -> dict[str, Any]:
        """Return everything that is known of a secret but its values."""
        data: dict[str, Any] = self.api.get(f"{self.mount}/metadata/{path}")["data"]
        return data

    def act(self, action: str, path: str, version: int) -> Any:
        """Do what is done to versions: delete, undelete, destroy."""
        return self.api.post(f"{self.mount}/{action}/{path}", versions=[version])


def observe(lab: VaultLab) -> ProbeFacts:
    """Look how the platform's mount is made; try versions on a mount of our own of the same kind."""
    notes = Notes()
    with notes.part(PLATFORM):
        source = lab.operator() if lab.subject.operator_token else lab.as_role(ROLE)
        with source as client:
            mount = f"{lab.subject.kv_mount}/"

            def version(answer: dict[str, Any]) -> bool:
                found = answer["data"][mount]
                return found["type"] == "kv" and (found.get("options") or {}).get("version") == "2"

            notes.ask("platform-versioned", partial(Api(client).get, "sys/mounts"), version, what=mount)
            kept: dict[str, Any] = {}

            def keeps(answer: dict[str, Any]) -> bool:
                kept.update({name: answer["data"][name] for name in ("max_versions", "delete_version_after")})
                many = kept["max_versions"] == 0 or kept["max_versions"] >= FEWEST  # 0: the server's ten
                return many and bool(kept["delete_version_after"] == "0s")

            seen = probe("platform-keeps", partial(Api(client).get, f"{mount}config"), keeps, mount)
            told = ", ".join(f"{name}: {value}" for name, value in kept.items())
            notes.probes.append(replace(seen, seen=f"{seen.seen} {told}".rstrip()))
    with notes.part(SCRATCH), lab.scratch(kv=True) as mounts, lab.operator() as client:
        kv = Kv(Api(client), mounts.kv)
        if notes.ask("written", partial(kv.write, "app", "one", 0), lambda number: number == 1):
            _check_and_set(notes, kv)
            _deletion(notes, kv)
            _pruning(notes, kv)
    return notes.facts()


def _check_and_set(notes: Notes, kv: Kv) -> None:
    notes.ask("cas-right", partial(kv.write, "app", "two", 1), lambda number: number == 2)
    notes.ask("cas-stale", partial(kv.write, "app", "lost update", 1))
    notes.ask("cas-create-only", partial(kv.write, "app", "overwritten", 0))
    kv.api.post(f"{kv.mount}/metadata/guarded", cas_required=True)
    notes.ask("cas-required", partial(kv.write, "guarded", "unseen"))
    notes.ask(
        "history",
        partial(kv.versions, "app"),
        lambda found: sorted(found) == ["1", "2"] and all(item["created_time"] for item in found.values()),
    )
    notes.ask("old-version", partial(kv.read, "app", 1), lambda value: value == "one")


def _deletion(notes: Notes, kv: Kv) -> None:
    kv.api.delete(f"{kv.mount}/data/app")
    notes.ask("deleted-hidden", partial(kv.read, "app"))
    notes.ask(
        "deleted-kept",
        partial(kv.versions, "app"),
        lambda found: bool(found["2"]["deletion_time"]) and found["2"]["destroyed"] is False,
    )

    def undelete() -> str:
        kv.act("undelete", "app", 2)
        return kv.read("app")

    notes.ask("undeleted", undelete, lambda value: value == "two")
    kv.act("destroy", "app", 2)
    notes.ask("destroyed-hidden", partial(kv.read, "app", 2))

    def bring_back() -> tuple[int, bool]:
        """Try to undo it; return the status of a read and what the history says."""
        try:
            kv.act("undelete", "app", 2)
            kv.read("app", 2)
            status = 200
        except hvac.exceptions.VaultError as error:
            status = status_of(error)
        return status, kv.versions("app")["2"]["destroyed"] is True

    notes.ask("destroyed-for-good", bring_back, lambda seen: seen[0] in {400, 404} and seen[1])


def _pruning(notes: Notes, kv: Kv) -> None:
    kv.api.post(f"{kv.mount}/metadata/short", max_versions=MOST)
    for number in range(1, MOST + 3):
        kv.write("short", str(number))
    notes.ask("oldest-pruned", partial(kv.read, "short", 2), what=f"max_versions {MOST}, version 2 of 5")
    notes.ask(
        "newest-kept",
        lambda: [kv.read("short", number) for number in range(3, 6)],
        lambda found: found == ["3", "4", "5"] and sorted(kv.versions("short")) == ["3", "4", "5"],
    )
    kv.api.delete(f"{kv.mount}/metadata/short")

    def remains() -> bool:
        for request in (partial(kv.metadata, "short"), partial(kv.read, "short", 5)):
            try:
                request()
            except hvac.exceptions.InvalidPath:
                continue
            return True
        return False

    notes.ask("removed-whole", remains, lambda found: not found)
