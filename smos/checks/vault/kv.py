"""VAULT-05: secrets keep their versions, and what is deleted or destroyed is just that."""

from smos.checks.vault.rules import accepted, judge_probes, refused
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement

SERVER = "compare the server's version and build with its publisher's, and look at its log"

RULES = (
    accepted(
        "platform-versioned",
        "kv-not-versioned",
        "The platform's mount is not KV version 2: no history, no check-and-set, and its policies grant nothing",
        "turn versioning on (`kv enable-versioning`), then compare every policy with the access matrix",
    ),
    accepted(
        "platform-keeps",
        "kv-forgets",
        "The platform's mount keeps one version only, or lets versions delete themselves",
        "set max_versions to 2 or more (0: ten) and delete_version_after to 0s on the mount",
    ),
    accepted("written", "kv-not-written", "A first version could not be written", SERVER),
    accepted("cas-right", "kv-not-written", "A write that names the current version was not taken", SERVER),
    refused(
        "cas-stale",
        "kv-cas-ignored",
        "A write that names an older version than the current one was taken: an update is lost",
        SERVER,
    ),
    refused(
        "cas-create-only",
        "kv-cas-ignored",
        "A write that may only create overwrote what was there",
        SERVER,
    ),
    refused(
        "cas-required",
        "kv-cas-not-required",
        "A secret that requires check-and-set was written without it",
        "set cas_required on the secret or on the mount, and read it back",
    ),
    accepted("history", "kv-history", "The history does not hold every version with its time", SERVER),
    accepted("old-version", "kv-history", "An older version can't be read any more", SERVER),
    refused("deleted-hidden", "kv-deleted-readable", "A deleted version can still be read", SERVER, 404),
    accepted(
        "deleted-kept",
        "kv-deleted-lost",
        "A deletion leaves no deletion time, or destroyed the version at once",
        SERVER,
    ),
    accepted("undeleted", "kv-deleted-lost", "A deleted version does not come back when undeleted", SERVER),
    refused(
        "destroyed-hidden", "kv-destroyed-readable", "A destroyed version can still be read", SERVER, 404
    ),
    accepted(
        "destroyed-for-good",
        "kv-destroyed-readable",
        "A destroyed version comes back, or the history does not call it destroyed",
        SERVER,
    ),
    refused(
        "oldest-pruned",
        "kv-max-versions",
        "More versions are kept than max_versions allows",
        "set max_versions on the secret or on the mount, and read it back",
        404,
    ),
    accepted("newest-kept", "kv-max-versions", "A version within max_versions is lost", SERVER),
    accepted(
        "removed-whole",
        "kv-removed-readable",
        "A secret that was removed with all its versions still answers",
        SERVER,
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was observed."""
    return judge_probes(RULES, facts)
