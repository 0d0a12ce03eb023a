"""VAULT-12: how hard a Vault is to abuse: tokens, audit, TLS, doors that must be shut, its process, its files.

Shown on a private Vault that runs on the compose stack's own configuration, set up as the platform sets it up. A
live Vault is asked the same things, but for its process and its files.
"""

import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import hvac

from smos.provision.certificates import make_certificate
from smos.provision.embedded.stack import stack_text
from smos.vault.model import CLIENT_ERRORS, REQUEST_LIMIT_S, VaultEndpoint, explain, opened
from smos.vault.verify.bare import LIVE, looked, send
from smos.vault.verify.deployment import deployment
from smos.vault.verify.devices import keeps
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.probe import Probe, ProbeFacts, ask, probe
from smos.vault.verify.process import read_process
from smos.vault.verify.stand import Stand
from smos.vault.verify.subject import Subject
from smos.vault.verify.tls import TlsFacts, read_tls

LONGEST_LEASE_S = 32 * 86_400
"""The server's own default is 32 days."""
MOST_ACCESSORS = 5_000
SHUT = (
    ("generate-root", "v1/sys/generate-root/attempt"),
    ("rekey", "v1/sys/rekey/init"),
    ("pprof", "v1/sys/pprof/goroutine"),
    ("host-info", "v1/sys/host-info"),
    ("raw-storage", "v1/sys/raw/core/keyring"),
    ("ui", "ui/"),
    ("metrics", "v1/sys/metrics?format=prometheus"),
    ("in-flight", "v1/sys/in-flight-req"),
)
"""Asked without a token. Reading the state of an attempt begins none."""
FOREIGN = ("smarteros", "transit", "sys/policies", "sys/mounts", "sys/raw", "sys/storage", "sys/audit")
"""What no policy may grant to everybody."""
EVERYTHING = re.compile(r'"(?:\*|\+/\*|sys/\*|sys/\+|sys\*)"')
"""Paths of a policy whose holder can make itself whatever it likes."""
HASHICORP = "HashiCorp Vault"
STRANGER = "https://smos-verify.invalid"
"""A web page's origin that nobody has (RFC 2606)."""
OPEN = {
    "telemetry": "unauthenticated_metrics_access",
    "profiling": "unauthenticated_pprof_access",
    "inflight_requests_logging": "unauthenticated_in_flight_requests_access",
}
"""What a listener may be told to give out without a token, by the block that says so."""


def observe(lab: VaultLab) -> ProbeFacts:
    """Look at the Vault that is verified, where it is live; else at one that runs on the stack's configuration."""
    if lab.live:
        look = _Look(lab.subject)
        probes = (*look.tokens(), *look.api(lab.endpoint), *look.live_tls())
        return ProbeFacts(probes=probes, details=look.details | {LIVE: True})
    owner = lab.owner()
    tls = make_certificate(owner, owner.directory("stack-tls", read_only=True))
    server = lab.servers(owner, name="stack", memory=True, tls=tls, stack=stack_text())
    with ExitStack() as stack:
        look = _Look(lab.subject)
        seen: list[Probe] = []
        if any(map(lab.goes, ("tokens", "api", "tls", "files"))):
            stand = stack.enter_context(lab.private_vault(name="stack", server=server))
            look = _Look(stand.subject)
            if lab.goes("tokens"):
                seen += look.tokens()
            if lab.goes("api"):
                seen += look.api(server.tls_endpoint)
            if lab.goes("tls"):
                seen += look.tls(read_tls(server.tls_endpoint.url, ca=server.tls_endpoint.ca))
            if lab.goes("files"):
                seen += look.files(stand, tls.key)
        if lab.goes("process"):
            seen += look.process(server.pid, lab.proc)
        if lab.goes("deployment"):
            seen += deployment(lab.compose)
        return ProbeFacts(probes=tuple(seen), details=look.details)


@dataclass(slots=True)
class _Look:
    subject: Subject
    details: dict[str, Any] = field(default_factory=dict)

    def tokens(self) -> Iterator[Probe]:
        """Count root tokens by their accessors; how long tokens live; what everybody may do."""
        with self.subject.operator() as client:
            yield self._root_tokens(client)
            yield probe("audit-on", client.sys.list_enabled_audit_devices, keeps)
            status, answer, reason = ask(send(client, "GET", "sys/auth/token/tune"))
            longest = None if status != 200 else int(answer["data"]["max_lease_ttl"])
            self.details["longest lease, seconds"] = longest
            held = None if longest is None else longest < LONGEST_LEASE_S
            seen = reason if longest is None else f"a token may live {longest} s"
            yield Probe(claim="lease-bound", status=status, holds=held, seen=seen)
            yield probe(
                "raw-storage-off",
                send(client, "GET", "sys/config/state/sanitized"),
                lambda found: found["data"]["raw_storage_endpoint"] is False,
            )
            yield from self._listeners(client)
            yield probe(
                "default-policy",
                send(client, "GET", "sys/policies/acl/default"),
                lambda found: not any(f'"{item}' in found["data"]["policy"] for item in FOREIGN),
            )
            for role in sorted(self.subject.credentials):
                yield self._role(client, role)

    def _listeners(self, client: hvac.Client) -> Iterator[Probe]:
        """Look at every listener that the server has, not only at the one that was asked."""
        status, answer, reason = ask(send(client, "GET", "sys/config/state/sanitized"))
        if status != 200:
            yield Probe(claim="listeners", status=status, seen=reason)
            return
        try:
            found = [item["config"] for item in answer["data"]["listeners"] if item["type"] == "tcp"]
        except (KeyError, TypeError):
            yield looked("listeners", None, "the server does not say which listeners it has")
            return
        plain = [str(item.get("address")) for item in found if _true(item.get("tls_disable"))]
        wide = [address for address in plain if not _loopback(address)]
        yield looked("listeners", not wide, f"{', '.join(wide) or 'none'} of {len(found)} without TLS")
        for item in found:
            for block, word in OPEN.items():
                blocks = item.get(block) or []
                told = blocks if isinstance(blocks, list) else [blocks]
                opened_up = any(_true(one.get(word)) for one in told if isinstance(one, dict))
                yield looked(
                    "listeners-shut", not opened_up, f"{item.get('address')}: {word}" if opened_up else ""
                )

    def _strong(self, client: hvac.Client) -> tuple[int | None, frozenset[str], str]:
        """Return the names of the policies that grant as much as root; with the status and reason of a refusal."""
        status, answer, reason = ask(send(client, "LIST", "sys/policies/acl"))
        if status != 200:
            return status, frozenset(), reason
        strong = {"root"}
        for name in answer["data"]["keys"]:
            if name == "root":
                continue
            status, found, reason = ask(send(client, "GET", f"sys/policies/acl/{name}"))
            if status not in {200, 404}:
                return status, frozenset(), reason
            if status == 200 and EVERYTHING.search(found["data"]["policy"]):
                strong.add(name)
        return 200, frozenset(strong), ""

    def _root_tokens(self, client: hvac.Client) -> Probe:
        status, strong, reason = self._strong(client)
        if status != 200:
            return Probe(claim="no-root-token", status=status, seen=reason)
        status, answer, reason = ask(client.auth.token.list_accessors)
        if status != 200:
            return Probe(claim="no-root-token", status=status, seen=reason)
        accessors = answer["data"]["keys"]
        if len(accessors) > MOST_ACCESSORS:
            return looked("no-root-token", None, f"{len(accessors)} tokens are too many to look at")
        roots = 0
        for accessor in accessors:
            status, found, reason = ask(
                send(client, "POST", "auth/token/lookup-accessor", {"accessor": accessor})
            )
            if status == 200:
                data = found["data"]
                roots += bool(strong & {*(data["policies"] or []), *(data.get("identity_policies") or [])})
            elif status not in {400, 403, 404}:  # it ended meanwhile
                return Probe(claim="no-root-token", status=status, seen=reason)
            elif status == 403 and "invalid accessor" not in reason:
                return Probe(claim="no-root-token", status=403, seen=reason)
        self.details |= {"tokens": len(accessors), "root tokens": roots}
        return looked("no-root-token", roots == 0, f"{roots} of {len(accessors)} tokens may do everything")

    def _role(self, client: hvac.Client, role: str) -> Probe:
        limit = self.subject.token_ttl_s

        def bounded(found: Any) -> bool:
            longest = found["data"]["token_max_ttl"] or found["data"]["token_ttl"]
            return 0 < int(longest) <= limit and not found["data"].get("token_period")

        seen = probe("role-bound", send(client, "GET", f"auth/approle/role/{role}"), bounded)
        return Probe(
            claim="role-bound", status=seen.status, holds=seen.holds, seen=f"role {role} {seen.seen}".rstrip()
        )

    def api(self, endpoint: VaultEndpoint) -> Iterator[Probe]:
        """Knock, without a token, at doors that must be shut, where clients come in."""
        with opened(endpoint) as client:
            state = ask(client.sys.read_seal_status)[1]
            if isinstance(state, dict) and "build_date" in state:  # OpenBao says `commit_date`
                self.details["product"] = HASHICORP
            for claim, path in SHUT:
                # Not through hvac: it knows no 405, and follows redirects.
                try:
                    answer = client.session.get(
                        f"{client.url}/{path}", timeout=REQUEST_LIMIT_S, allow_redirects=False
                    )
                except CLIENT_ERRORS as error:
                    yield Probe(claim=claim, seen=explain(error))
                else:
                    yield Probe(claim=claim, status=answer.status_code, seen=path)

        yield self._cors(endpoint)

    def _cors(self, endpoint: VaultEndpoint) -> Probe:
        """Ask as a web page of anybody's would."""
        with opened(endpoint) as client:
            try:
                answer = client.session.get(
                    f"{client.url}/v1/sys/health",
                    timeout=REQUEST_LIMIT_S,
                    allow_redirects=False,
                    headers={"Origin": STRANGER},
                )
            except CLIENT_ERRORS as error:
                return Probe(claim="cors", seen=explain(error))
            return looked("cors", answer.headers.get("Access-Control-Allow-Origin") not in {"*", STRANGER})

    def live_tls(self) -> Iterator[Probe]:
        """Look at the listener of a live Vault; plain HTTP reaches no further than loopback (live_subject)."""
        endpoint = self.subject.endpoint
        url = str(getattr(endpoint, "url", ""))
        if url.startswith("https://"):
            yield from self.tls(read_tls(url, ca=getattr(endpoint, "ca", None)))

    def tls(self, facts: TlsFacts) -> Iterator[Probe]:
        """Say what the listener showed."""
        self.details["tls"] = asdict(facts)
        agreed = f"{facts.version}, {facts.days_left} days left" if facts.version else facts.reason
        yield looked("tls-verified", facts.verified, agreed)
        if facts.verified:
            yield looked("tls-weak", None if facts.takes_weak is None else not facts.takes_weak)
            yield looked("tls-old", None if facts.takes_old is None else not facts.takes_old)
            yield looked("tls-plain", None if facts.takes_plain is None else not facts.takes_plain)

    def process(self, pid: int | None, proc: Path) -> Iterator[Probe]:
        """Say what the kernel tells of the server."""
        if pid is None:
            yield looked("no-superuser", None, "the server does not run")
            return
        facts = read_process(pid, proc)
        self.details["process"] = asdict(facts)
        yield looked(
            "no-superuser",
            None if facts.uids is None else 0 not in facts.uids and not facts.capabilities,
            f"users {facts.uids}, capabilities {facts.capabilities or 0:x}",
        )
        core = facts.core_bytes
        yield looked("no-core-dumps", None if core is None else core == 0, f"core limit {core}")
        swapped = facts.swapped_bytes
        yield looked("not-swapped", None if swapped is None else swapped == 0, f"{swapped} bytes in swap")

    def files(self, stand: Stand, key: Path) -> Iterator[Probe]:
        """Look at the modes of what must not be open: storage, configuration, key, escrow, audit log."""
        server = stand.server
        places = {
            "storage": server.data_dir,
            "storage's database": server.data_dir / "vault.db",
            "configuration": server.config_path,
            "TLS key": key,
            "escrow": stand.escrow,
        }
        if server.audit_path is not None:
            places["audit log"] = server.audit_path
        modes = {name: stat.S_IMODE(path.stat().st_mode) for name, path in places.items() if path.exists()}
        self.details["modes"] = {name: f"{mode:04o}" for name, mode in modes.items()}
        for name, mode in modes.items():
            # The configuration and the key are read by the server's group; nobody else may.
            mask = 0o027 if name in {"configuration", "TLS key"} else 0o077
            yield looked("private-files", not mode & mask, f"{name}: mode {mode:04o}")


def _true(value: object) -> bool:
    return str(value).lower() in {"true", "1"}


def _loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    return host in {"localhost", "::1"} or host.startswith("127.")
