"""How observations of containers are judged: one rule for each claim, one finding code for each rule. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from smos.containers.observation import Observation, Observations
from smos.verdict import Finding, Judgement, fail, not_proven

NOT_SEEN = "container-not-seen"
LOOK = "use an image with a shell and the usual tools, run as root on the engine's machine, and run the check again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One claim. sentence: what is wrong when it does not hold, as an auditor reads it.

    experiment: what does not hold shows nothing about the subject, only that the experiment failed: not proven.
    """

    claim: str
    code: str
    sentence: str
    remedy: str
    experiment: bool = False


def _rule(claim: str, code: str, sentence: str, remedy: str) -> Rule:
    return Rule(claim=claim, code=code, sentence=sentence, remedy=remedy)


def _condition(claim: str, sentence: str) -> Rule:
    return Rule(claim=claim, code="container-experiment", sentence=sentence, remedy=LOOK, experiment=True)


ASK_IT = "ask the service itself, where its clients come in; the engine's word is none"
COMPOSE = "compare with compose/vault.yml:"
RULES: Mapping[str, Sequence[Rule]] = {
    "CONTAINER-01": (
        _rule("user", "container-root", "Its processes run as root", f"{COMPOSE} `user: …`, with a number"),
        _rule(
            "capabilities", "container-capabilities", "It has capabilities", f"{COMPOSE} `cap_drop: [ALL]`"
        ),
        _rule(
            "no-new-privileges",
            "container-new-privileges",
            "A setuid program could give its processes more rights",
            f"{COMPOSE} `security_opt: [no-new-privileges:true]`",
        ),
        _rule(
            "seccomp",
            "container-seccomp",
            "Its system calls are not filtered",
            "leave the engine's profile on",
        ),
        _rule(
            "own-namespaces",
            "container-shares-host",
            "It shares the machine's namespaces or devices, or is privileged",
            "take `privileged`, `pid: host`, `network_mode: host` and `devices` out",
        ),
    ),
    "CONTAINER-02": (
        _rule(
            "root-read-only",
            "container-root-writable",
            "Its root can be written",
            f"{COMPOSE} `read_only: true`",
        ),
        _rule(
            "root-unwritable",
            "container-root-writable",
            "A file could be made outside of its own directories",
            f"{COMPOSE} `read_only: true`",
        ),
        _rule(
            "scratch-not-executable",
            "container-scratch-executable",
            "What is put into its scratch space can be run",
            "mount /tmp as tmpfs with noexec, nosuid, nodev",
        ),
        _rule(
            "program-unchangeable",
            "container-program-writable",
            "Its program belongs to its own user, or others may write it",
            "give the image's programs to root, mode 0755",
        ),
        _rule(
            "data-private",
            "container-data-open",
            "Its data can be read by others",
            "mode 0700 on the directory",
        ),
    ),
    "CONTAINER-03": (
        _rule(
            "ports",
            "container-port-extra",
            "It listens where nothing was declared",
            "find out what listens there",
        ),
        _rule(
            "published",
            "container-published-wide",
            "It is published beyond loopback",
            "publish as 127.0.0.1:PORT:PORT, or not at all",
        ),
        _rule(
            "no-network", "container-network", "It has a network and should have none", "`network_mode: none`"
        ),
    ),
    "CONTAINER-04": (
        _rule("mounts", "container-mount-foreign", "It sees directories that are not its own", "mount less"),
        _rule(
            "engine-socket",
            "container-engine-socket",
            "It can speak to the engine, which makes it root on the machine",
            "never mount the engine's socket",
        ),
        _rule(
            "configuration-read-only",
            "container-configuration-writable",
            "It can change its own configuration",
            "mount the configuration read-only",
        ),
        _rule(
            "limits",
            "container-unlimited",
            "Its memory or processes have no limit, or it may swap",
            f"{COMPOSE} limits",
        ),
        _rule(
            "no-core-dumps",
            "container-core-dumps",
            "A crash would leave its memory in a file",
            "`ulimits: {core: 0}`",
        ),
        _rule(
            "no-secrets",
            "container-secret-in-environment",
            "Its environment, arguments or labels, which everybody with the engine can read, hold a secret",
            "give secrets as files",
        ),
    ),
    "CONTAINER-05": (
        _condition("well", "A service that nothing was done to is not healthy"),
        *(
            _rule(
                state,
                "container-sick-called-healthy",
                f"A service is called healthy while it is {state}",
                ASK_IT,
            )
            for state in ("paused", "disconnected", "black-holed", "killed")
        ),
        _rule(
            "mended",
            "container-mended-called-sick",
            "A mended service is not called healthy",
            "look at its log",
        ),
    ),
    "CONTAINER-06": (
        _condition("neighbour", "Not even a neighbour in its own network was reached"),
        _condition("neighbour-name", "Not even a neighbour's name is known"),
        _rule(
            "other-stack",
            "container-network-crossed",
            "A server of another stack is reached by its address",
            "give every stack networks of its own",
        ),
        _rule(
            "other-name",
            "container-network-crossed",
            "A server of another stack is known by its name",
            "as above",
        ),
        _rule(
            "other-published",
            "container-published-crossed",
            "A server of another stack is reached by its published port",
            "publish on 127.0.0.1 alone",
        ),
        _rule(
            "apart",
            "container-network-shared",
            "The stacks share a network",
            "give every stack networks of its own",
        ),
    ),
    "CONTAINER-07": (
        _condition("audit-before", "Vault does not serve with room on the disk either"),
        _rule(
            "audit-full-write",
            "container-audit-full-served",
            "Vault takes writes that its audit log has no room for",
            "let no audit device write to nowhere, and watch the disk",
        ),
        _rule(
            "audit-full-read",
            "container-audit-full-served",
            "Vault serves reads that are not logged",
            "as above",
        ),
        _rule(
            "audit-served-logged",
            "container-audit-lost",
            "What was served on a full disk is not in the log",
            "report this to the server's authors",
        ),
        _rule(
            "audit-recovers",
            "container-audit-no-recovery",
            "Vault stays blocked with room again",
            "restart it",
        ),
        _rule(
            "audit-refused-undone",
            "container-audit-write-kept",
            "A refused write took place",
            "report this upstream",
        ),
    ),
    "CONTAINER-08": (
        _rule(
            "disk-refused",
            "container-disk-not-refused",
            "A write on a full disk is not refused as such",
            "look at its log",
        ),
        _rule(
            "disk-serves",
            "container-disk-died",
            "Nothing is served on a full disk",
            "keep the log on another disk",
        ),
        _rule(
            "disk-kept",
            "container-disk-lost",
            "Committed rows are not there on a full disk",
            "restore; report it",
        ),
        _rule(
            "disk-recovers",
            "container-disk-no-recovery",
            "No write is taken with room again",
            "look at its log",
        ),
        _rule(
            "disk-crash-kept",
            "container-disk-lost",
            "Committed rows are gone after a crash",
            "restore; report it",
        ),
    ),
}


def judge(check_id: str, facts: Observations, *, without: Sequence[str] = ()) -> Judgement:
    """Judge every rule of a check. PASS needs an observation of each; several observations of one claim all count.

    without: claims that these containers don't make.
    """
    rules = [rule for rule in RULES[check_id] if rule.claim not in without]
    findings: list[Finding] = []
    for rule in rules:
        findings += _of(rule, [item for item in facts.observed if item.claim == rule.claim])
    for claim in sorted({item.claim for item in facts.observed} - {rule.claim for rule in RULES[check_id]}):
        findings.append(not_proven(NOT_SEEN, f"Nobody judges the observation {claim!r}", "report this"))
    return Judgement(tuple(findings), {"observations": [asdict(item) for item in facts.observed]})


def _of(rule: Rule, observed: list[Observation]) -> Iterator[Finding]:
    if not observed:
        yield not_proven(NOT_SEEN, f"It was not looked at: {rule.claim}", LOOK)
    for item in observed:
        seen = f" ({item.subject}: {item.seen})" if item.seen else f" ({item.subject})"
        if item.holds is None:
            yield not_proven(NOT_SEEN, f"{rule.claim} can't be told{seen}", LOOK)
        elif not item.holds:
            kind = not_proven if rule.experiment else fail
            yield kind(rule.code, f"{rule.sentence}{seen}", rule.remedy)
