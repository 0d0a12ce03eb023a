"""DEMO-05 and DEMO-06: isolation as the compose file declares it, and as the servers behave."""

import re
from collections.abc import Iterator

from smos.demo.schema import LOGINS
from smos.demo.verify.facts import BoundaryFacts, ComposeFacts, ServiceConfig
from smos.demo.verify.isolation import ABSENT, DONE, ESCAPES, IN, NO_DATABASE, NO_PASSWORD, REFUSALS, REFUSED
from smos.verdict import Finding, Judgement, fail, not_proven

PREFIX = "demo-"
REQUIRED = re.compile(r"^\$\{[A-Z0-9_]+:\?[^}]*\}$")
PINNED = re.compile(r"^[a-z0-9./_-]+:[0-9]+\.[0-9]+[A-Za-z0-9._-]*$|@sha256:[0-9a-f]{64}$")
LOOPBACK = re.compile(r"^(127\.0\.0\.1|\[::1\]):")
KEPT_CAPABILITIES = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
ROLE_LABEL, ENVIRONMENT_LABEL = "cl.smarterbot.role", "cl.smarterbot.environment"
SERVICES = ("demo-postgres", "demo-seeder", "demo-cleanup", "demo-n8n")


def judge_compose(facts: ComposeFacts) -> Judgement:
    """Judge the compose file."""
    if facts.problem:
        finding = not_proven(
            "compose-unreadable", f"compose/demo.yml can't be judged: {facts.problem}", "mend the file"
        )
        return Judgement((finding,))
    findings: list[Finding] = []
    known = {item.name for item in facts.services}
    findings += [
        fail("service-missing", f"{name} is not in compose/demo.yml", "put it back")
        for name in SERVICES
        if name not in known
    ]
    findings += [
        fail(
            "network-shared" if thing.startswith("network") else "volume-shared",
            f"the {thing} may be another project's (external, or with a fixed name)",
            "let the project make its own",
        )
        for thing in facts.external
    ]
    findings += [
        fail(
            "network-open", f"the network {name} has a way out", "internal: true, or switch masquerading off"
        )
        for name in facts.networks
        if name not in facts.internal_networks and name not in facts.guarded_networks
    ]
    for service in facts.services:
        findings += [*_reach(service, facts), *_credentials(service), *_hardening(service)]
    return Judgement(
        tuple(findings),
        {
            "services": {item.name: {"image": item.image, "networks": list(item.networks), "ports": list(item.ports)}
                         for item in facts.services},
            "internal_networks": list(facts.internal_networks),
        },
    )  # fmt: skip


def _reach(service: ServiceConfig, facts: ComposeFacts) -> Iterator[Finding]:
    for name in service.networks:
        if name not in facts.networks:
            yield fail(
                "network-open",
                f"{service.name} is on the network {name}, which is not the demo's own",
                "use demo-internal",
            )
    for port in service.ports:
        if not LOOPBACK.match(port):
            yield fail(
                "port-exposed",
                f"{service.name} publishes {port} beyond the loopback address",
                f'"127.0.0.1:{port}"',
            )
    for key in service.host_modes:
        yield fail(
            "host-shared", f"{service.name} has {key}: it reaches past its own networks", f"remove {key}"
        )
    for mount in service.mounts:
        source = mount.split(":", 1)[0]
        if "docker.sock" in mount:
            yield fail(
                "host-shared",
                f"{service.name} mounts the engine's socket: it owns the host",
                "remove the mount",
            )
        elif source.startswith(("/", "~", "..")) or (source.startswith(".") and not mount.endswith(":ro")):
            yield fail(
                "host-shared",
                f"{service.name} mounts {source} of the host",
                "use a named volume, or ./demo read-only",
            )


def _credentials(service: ServiceConfig) -> Iterator[Finding]:
    for key, value in service.secrets.items():
        if not REQUIRED.match(value):
            yield fail(
                "password-default",
                f"{service.name}: {key} is written in the file or has a default",
                f"{key}: ${{{key}:?set it in .env}}",
            )
        elif "demo" not in value.lower():
            yield fail(
                "credential-shared",
                f"{service.name}: {key} takes a variable that production may use too",
                "name the demo's variables DEMO_…",
            )


def _hardening(service: ServiceConfig) -> Iterator[Finding]:
    extra = sorted(set(service.added) - KEPT_CAPABILITIES)
    plain = any(option.startswith("no-new-privileges") for option in service.security_options)
    labelled = service.labels.get(ENVIRONMENT_LABEL) == "demo" and bool(service.labels.get(ROLE_LABEL))
    faults = {
        "privileged": service.privileged,
        "capabilities are not dropped": "ALL" not in service.dropped,
        f"adds {', '.join(extra)}": bool(extra),
        "its root file system can be written": not service.read_only,
        "may gain privileges": not plain,
        "no limit on memory or processes": not service.limited,
        "no health check": not service.healthcheck,
        f"its name does not start with {PREFIX}": not service.name.startswith(PREFIX),
        "its labels don't say that it is the demo's": not labelled,
    }
    wrong = [words for words, is_so in faults.items() if is_so]
    if wrong:
        yield fail(
            "container-soft",
            f"{service.name}: {'; '.join(wrong)}",
            "see the x-hardening block of compose/demo.yml",
        )
    if not PINNED.search(service.image):
        yield fail(
            "image-not-pinned",
            f"{service.name}: the image {service.image or '(none)'} has no exact version",
            "pin it",
        )


def judge_boundary(facts: BoundaryFacts) -> Judgement:
    """Judge what the demo's credentials opened."""
    findings = [*_identity(facts), *_logins(facts), *_escapes(facts)]
    return Judgement(
        tuple(findings),
        {
            "logins_tried": len(facts.own)
            + len(facts.elsewhere)
            + len(facts.production)
            + len(facts.without_password),
            "ways_out_tried": len(facts.escapes),
            "separate_cluster": facts.demo_identifier is not None
            and facts.demo_identifier != facts.production_identifier,
        },
    )


def _identity(facts: BoundaryFacts) -> Iterator[Finding]:
    if facts.demo_identifier is None or facts.production_identifier is None:
        yield not_proven(
            "identity-unknown",
            "the cluster of the demo or of production does not tell its identity",
            "let a superuser ask pg_control_system() of both",
        )
    elif facts.demo_identifier == facts.production_identifier:
        yield fail(
            "cluster-shared", "the demo lives in production's own cluster", "give it a server of its own"
        )
    if facts.environment != "demo":
        yield fail(
            "identity-wrong", "the database does not say that it is the demo", "load compose/demo/init.sql"
        )
    for link in facts.links:
        yield fail("link-out", f"{link}: a way out of the demo's database", "drop it")


def _logins(facts: BoundaryFacts) -> Iterator[Finding]:
    for item in facts.own:
        if item.outcome != IN:
            yield not_proven(
                "own-login-refused",
                f"{item.role} can't enter the demo itself ({item.outcome}): its refusals elsewhere prove nothing",
                "give the role its password and CONNECT",
            )
    if not facts.production:
        yield not_proven("production-not-tried", "nothing stands for production here", "provision it")
    yield from _untried(facts)
    yield from _entered(facts)
    for item in (*facts.production, *facts.elsewhere, *facts.without_password):
        if item.outcome not in {IN, NO_DATABASE, *REFUSALS}:
            yield not_proven(
                "login-not-answered",
                f"{item.role} at {item.server}/{item.database}: {item.outcome} is not a refusal",
                "start the server and run again",
            )
        elif item.outcome == NO_PASSWORD and item not in facts.without_password:
            yield not_proven(
                "login-not-tried",
                f"{item.role} at {item.server}/{item.database}: its password is not known, so it was not shown there",
                "give the check the demo's passwords",
            )
        elif item.outcome == NO_DATABASE:
            yield not_proven(
                "login-database-missing",
                f"{item.role} at {item.server}/{item.database}: there is no such database, which refuses nobody",
                "give the stand-in for production its database, or look whether the password was taken",
            )


def _untried(facts: BoundaryFacts) -> Iterator[Finding]:
    """Say which logins were never tried: every role, in each of the places."""
    for where, tries in (
        ("the demo itself", facts.own),
        ("other databases of the demo's server", facts.elsewhere),
        ("the demo, without a password", facts.without_password),
        *((("production", facts.production),) if facts.production else ()),
    ):
        databases = sorted({item.database for item in tries})
        for role in LOGINS:
            tried = {item.database for item in tries if item.role == role}
            if left := [name for name in databases if name not in tried]:
                yield _not_tried(role, f"{where} ({', '.join(left)})")
            elif not tried:
                yield _not_tried(role, where)


def _not_tried(role: str, where: str) -> Finding:
    return not_proven("login-not-tried", f"{role}: it was not tried to enter {where}", "report this")


def _entered(facts: BoundaryFacts) -> Iterator[Finding]:
    for item in facts.production:
        if item.outcome == IN:
            yield fail(
                "production-entered",
                f"{item.role} entered {item.database} of production with the demo's credentials",
                "other roles, other passwords, and no CONNECT for PUBLIC",
            )
    for item in facts.elsewhere:
        if item.outcome == IN:
            yield fail(
                "other-database-entered",
                f"{item.role} entered {item.database} of the demo's server",
                "load database.sql",
            )
    for item in facts.without_password:
        if item.outcome == IN:
            yield fail(
                "login-without-password",
                f"{item.role} entered without its password",
                "scram-sha-256 in pg_hba.conf",
            )


def _escapes(facts: BoundaryFacts) -> Iterator[Finding]:
    for item in facts.escapes:
        if item.outcome == DONE:
            yield fail(
                "way-out", f"{item.role} could {item.what}", "take the right from the role, load database.sql"
            )
        elif item.outcome not in REFUSED | ABSENT.get(item.what.partition(":")[0], frozenset()):
            # Whoever gets as far as another error may have the right: a full disk or a slow server refuses nothing.
            yield not_proven(
                "escape-not-refused",
                f"{item.role}: {item.what} ended with {item.outcome}, which is no refusal",
                "see what the server's log says of it, and run again",
            )
    able = {item.role for item in facts.own if item.outcome == IN}
    for role in LOGINS:
        tried = {item.what for item in facts.escapes if item.role == role}
        if role in able and (left := [what for what, _ in ESCAPES if what not in tried]):
            yield not_proven(
                "escape-not-tried",
                f"{role}: {len(left)} of {len(ESCAPES)} ways out were not tried: {left[0]} …",
                "report this",
            )
