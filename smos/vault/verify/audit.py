"""VAULT-08: what Vault's audit log holds, and what Vault does when it can't be written.

Shown on a bare server of the harness' own, for its log is broken on the way: a device fails because a directory
lies in the place of its file when the server opens it anew (SIGHUP), as it does when a log rotation went wrong.
The Vault that is verified is asked for its audit devices and the tuning of its mounts; what one secret leaves in its
own log is looked at where that log is ours (devices.py).
"""

import json
import secrets
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac

from smos.errors import DeadlineError
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.vault.model import CLIENT_ERRORS, VaultError, opened
from smos.vault.verify.bare import LIVE, looked, opened_up, send
from smos.vault.verify.devices import devices, trail
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.metrics import read_metrics, samples
from smos.vault.verify.probe import Probe, ProbeFacts, ask
from smos.wait import wait_for

WRITES = 12
ROTATIONS = 3
WRITERS = 2
TURN_REQUESTS = 20
"""Requests that every writer makes, at least, between two rotations."""
WRITER_REQUESTS = 5_000
"""Where a writer stops in any case."""
SETTLE_S = 60.0
"""A limit against hangs."""
REOPENS = 200
"""So many requests of each writer the server may serve after the signal until it acts on it; it takes milliseconds."""
"""A SIGHUP is handled within some milliseconds."""
SECOND = "second"
FAILURES = "vault_audit_log_request_failure"


def observe(lab: VaultLab) -> ProbeFacts:
    """Write and read canaries, look for them in the log; rotate it; break one device, then one of two, then both."""
    declared = list(devices(lab))
    if lab.live:
        return ProbeFacts(probes=tuple(declared), details={LIVE: True})
    if lab.stand is not None and lab.stand.server.audit_path is not None:
        declared += trail(lab, lab.stand.server.audit_path)
    if lab.subject_alone:
        return ProbeFacts(probes=tuple(declared))
    names: list[str] = []

    def add(configuration: dict[str, Any]) -> None:
        for name in names:
            options = {"file_path": f"{name}.log", "mode": "0600"}
            configuration["audit"].append({"type": "file", "path": f"{name}/", "options": options})

    with (
        lab.bare_server("audit", storage="inmem", adjust=add) as server,
        opened(server.endpoint) as client,
    ):
        if server.audit_path is None:
            raise VaultError("The server writes no audit log", code="audit-no-log")
        opened_up(client)
        bench = _Bench(server, client, server.audit_path)
        probes = [*declared, *bench.course(lab.goes, names)]
        return ProbeFacts(probes=tuple(probes), details=bench.details)


@dataclass(slots=True)
class _Bench:
    server: EmbeddedOpenBao
    client: hvac.Client
    log: Path
    reopens: bool = True
    details: dict[str, Any] = field(default_factory=dict)

    def course(self, goes: Callable[[str], bool], names: list[str]) -> Iterator[Probe]:
        """Go through what is to be tried. names: of the devices that the server has beside its first."""
        if goes("trail"):
            yield from self.trail()
        if not self.log.exists():
            return
        if goes("rotation"):
            yield from self.rotated()
        if not self.reopens:
            return
        if goes("only-device"):
            yield from self.only_device_fails()
        if goes("two-devices"):
            names.append(SECOND)
            yield from self.one_of_two_fails()

    def trail(self) -> Iterator[Probe]:
        """Make requests of every kind, then look for each of them, and for what must not be there."""
        canary, number = f"canary-{secrets.token_hex(16)}", 10**15 + secrets.randbelow(10**15)
        place = f"cubbyhole/{secrets.token_hex(8)}"
        sent: list[str] = []

        def do(method: str, path: str, body: Any = None) -> int | None:
            sent.append(path)
            return ask(send(self.client, method, path, body))[0]

        secret = {"value": canary, "nested": {"deep": [canary]}, "number": number, "on": True}
        made = [do("POST", f"{place}/{index}", secret) for index in range(WRITES)]
        made += [do("GET", f"{place}/{index}") for index in range(WRITES)]
        if set(made) != {200}:
            yield looked("answered", None, f"the server answered {sorted(map(str, set(made)))}")
            return
        do("LIST", place)
        do("DELETE", f"{place}/0")
        do("GET", f"{place}/never-written")
        do("GET", f"{place}-no-such-mount/x")
        entries, text = _entries(self.log)
        _, answer, _ = ask(lambda: self.client.sys.calculate_hash(path="file", input_to_hash=canary))
        hashed = answer["data"]["hash"] if answer else "no hash"
        requests = Counter(_path(item) for item in entries if item.get("type") == "request")
        responses = Counter(_path(item) for item in entries if item.get("type") == "response")
        wanted = Counter(sent)
        lost = [_missing(wanted, requests), _missing(wanted, responses)]
        clear = text.count(canary.encode())
        token = self.client.token
        self.details |= {
            "requests": len(sent),
            "request entries": len(sent) - lost[0],
            "response entries": len(sent) - lost[1],
            "canary in clear": clear,
            "canary hashed": text.count(hashed.encode()),
            "numbers in clear": text.count(str(number).encode()),
            "mode": _mode(self.log),
        }
        yield looked("no-secret", clear == 0, f"{clear} times in clear")
        yield looked("no-token", token.encode() not in text)
        # Each write shows it twice (value, nested), each read as well.
        seen = text.count(hashed.encode())
        yield looked("hashed", seen >= 4 * WRITES, f"its hash was seen {seen} times")
        yield looked("every-request", lost[0] == 0, f"{lost[0]} of {len(sent)} requests have no entry")
        yield looked("every-response", lost[1] == 0, f"{lost[1]} of {len(sent)} answers have no entry")
        yield looked("private", _mode(self.log) == "0600", f"mode {_mode(self.log)}")

    def rotated(self) -> Iterator[Probe]:
        """Rename the log and send SIGHUP, several times, while requests go on; then look for all of them."""
        place = f"cubbyhole/{secrets.token_hex(8)}"
        writers = [_Writer(self.server, self.client.token, f"{place}/{number}") for number in range(WRITERS)]
        files = [self.log]
        for writer in writers:
            writer.start()
        try:
            for turn in range(ROTATIONS):
                self._turn(writers)
                old = self.log.with_name(f"{self.log.name}.{turn}")
                self.log.rename(old)
                files.append(old)
                self.server.reload()
                if not self._reopened(writers):
                    yield looked("rotation", False, "it goes on with the file that was renamed")
                    self.reopens = False
                    return
            self._turn(writers)
        finally:
            for writer in writers:
                writer.end()
        done = [item for writer in writers for item in writer.done]
        found = {kind: Counter[str]() for kind in ("request", "response")}
        for entries, _ in map(_entries, files):
            for item in entries:
                if item.get("type") in found:
                    found[item["type"]][_path(item)] += 1
        lost = sum(1 for path in done if found["request"][path] != 1 or found["response"][path] != 1)
        refused = sum(writer.refused for writer in writers)
        self.details |= {"rotations": ROTATIONS, "requests while rotating": len(done), "refused": refused}
        whole = f"{lost} of {len(done)} requests are not there exactly once"
        yield looked("rotation", lost == 0 if done else None, whole)
        yield looked("rotation-served", refused == 0, f"{refused} requests were refused meanwhile")
        modes = sorted({_mode(path) for path in files})
        yield looked("rotation-private", modes == ["0600"], f"modes {', '.join(modes)}")

    def _reopened(self, writers: list["_Writer"]) -> bool:
        """Tell whether the server opened its log anew after the signal, while requests go on."""
        marks = [len(writer.done) + REOPENS for writer in writers]

        def decided() -> bool:
            served = zip(writers, marks, strict=True)
            return self.log.exists() or all(
                len(writer.done) >= mark or not writer.is_alive() for writer, mark in served
            )

        wait_for(decided, what="the server opened its log anew", deadline_s=SETTLE_S)
        return self.log.exists()

    def _turn(self, writers: list["_Writer"]) -> None:
        """Wait until every writer has made some requests since now: the rotation happens in their midst."""
        marks = [len(writer.done) + TURN_REQUESTS for writer in writers]
        wait_for(
            lambda: all(
                len(writer.done) >= mark or not writer.is_alive()
                for writer, mark in zip(writers, marks, strict=True)
            ),
            what="requests were made",
            deadline_s=SETTLE_S,
        )

    def only_device_fails(self) -> Iterator[Probe]:
        """Break the only device: nothing may be served, and the failure must be counted."""
        place = f"cubbyhole/{secrets.token_hex(8)}"
        kept, lost = f"{place}/before", f"{place}/while"
        ask(send(self.client, "POST", kept, {"value": "kept"}))
        before = samples(read_metrics(self.client)).get(FAILURES, 0.0)
        with self._broken(self.log):
            yield Probe(claim="fails-closed-read", **_status(self.client, "GET", kept))
            yield Probe(claim="fails-closed-write", **_status(self.client, "POST", lost, {"value": "x"}))
        yield Probe(claim="recovers", **_status(self.client, "GET", kept))
        yield Probe(claim="refused-write-undone", **_status(self.client, "GET", lost))
        after = samples(read_metrics(self.client)).get(FAILURES, 0.0)
        self.details["audit failures counted"] = after - before
        yield looked("failure-counted", after > before, f"{FAILURES} went from {before:g} to {after:g}")

    def one_of_two_fails(self) -> Iterator[Probe]:
        """Declare a second device; break the first: requests go on and are logged. Break both: nothing goes on."""
        self.server.reload()
        second = self.log.with_name(f"{SECOND}.log")
        try:
            wait_for(self._has_second, what="the second audit device is there", deadline_s=SETTLE_S)
        except (DeadlineError, *CLIENT_ERRORS):
            yield looked("one-of-two", None, "the second device could not be declared")
            return
        path = f"cubbyhole/{secrets.token_hex(8)}"
        with self._broken(self.log):
            # The reload closed the first file: every request from here on has the second device alone.
            state = _status(self.client, "POST", path, {"value": "x"})
            written = any(_path(item) == path for item in _entries(second)[0])
            yield Probe(claim="one-of-two", **state)
            yield looked("one-of-two-logged", written, "the second device's log was looked at")
            if not second.exists():
                yield looked("both-fail", None, "the second device has no log of its own")
                return
            with self._broken(second):
                yield Probe(claim="both-fail", **_status(self.client, "GET", path))

    def _has_second(self) -> bool:
        return f"{SECOND}/" in self.client.sys.list_enabled_audit_devices()["data"]

    @contextmanager
    def _broken(self, log: Path) -> Iterator[None]:
        """Put a directory where the server expects the file, and let it open the file anew."""
        aside = log.with_name(f"{log.name}.aside-{secrets.token_hex(2)}")
        log.rename(aside)
        log.mkdir()
        self.server.reload()
        try:
            wait_for(
                lambda: self._unchanged(aside),
                what="the server closed the log that was moved",
                deadline_s=SETTLE_S,
            )
            yield
        finally:
            log.rmdir()
            self.server.reload()
            wait_for(log.exists, what="the server opened its log anew", deadline_s=SETTLE_S)

    def _unchanged(self, log: Path) -> bool:
        """Make a request; tell whether it left no entry there."""
        before = log.stat().st_size
        ask(send(self.client, "GET", "cubbyhole/probe"))
        return log.stat().st_size == before


class _Writer(threading.Thread):
    """Makes requests, each with a path of its own, until it is told to end."""

    def __init__(self, server: EmbeddedOpenBao, token: str, place: str) -> None:
        super().__init__(name="audit-writer", daemon=True)
        self.done: list[str] = []
        self.refused = 0
        self._server, self._token, self._place = server, token, place
        self._ended = threading.Event()

    def run(self) -> None:
        """Make the requests."""
        with opened(self._server.endpoint, self._token) as client:
            for number in range(WRITER_REQUESTS):
                if self._ended.is_set():
                    return
                path = f"{self._place}/{number}"
                status, _, _ = ask(send(client, "POST", path, {"value": "x"}))
                self.refused += status != 200
                self.done.append(path)

    def end(self) -> None:
        """Tell it to end, and wait for that."""
        self._ended.set()
        self.join(SETTLE_S)


def _status(client: hvac.Client, method: str, path: str, body: Any = None) -> dict[str, Any]:
    status, _, reason = ask(send(client, method, path, body))
    return {"status": status, "seen": reason}


def _entries(log: Path) -> tuple[list[dict[str, Any]], bytes]:
    """Return the entries of a log and its bytes; a line that is none is left out, so what it told is missed."""
    text = log.read_bytes() if log.exists() else b""
    found = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found, text


def _path(entry: dict[str, Any]) -> str:
    return str((entry.get("request") or {}).get("path")).rstrip("/")  # a list's path ends in one


def _missing(wanted: Counter[str], found: Counter[str]) -> int:
    return sum((wanted - found).values())


def _mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}" if path.exists() else "no file"
