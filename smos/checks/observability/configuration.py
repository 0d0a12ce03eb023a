"""Judge of OBS-06: the shipped configuration is valid, complete, closed to the network, and keeps what is declared."""

from collections.abc import Sequence

from smos.checks.observability.rules import Rule, judge_probes
from smos.observability.verify.probe import ProbeFacts
from smos.verdict import Judgement

RULES: Sequence[Rule] = (
    Rule(
        "valid",
        "configuration-invalid",
        "The collector refuses the shipped configuration",
        "its message names the key",
    ),
    Rule(
        "components",
        "components-differ",
        "The configuration and the builder's manifest don't name the same components",
        "let builder.yml hold exactly what otel-collector-config.yaml uses, and build it again (make otelcol)",
    ),
    Rule(
        "used",
        "component-idle",
        "Components are configured and used by no pipeline",
        "use them, or take them out",
    ),
    Rule(
        "release",
        "releases-differ",
        "The manifest, its modules and the image are not of one release",
        "raise them together",
    ),
    Rule(
        "loopback",
        "open-by-default",
        "An address is not on loopback by default",
        "give it a default of 127.0.0.1",
    ),
    Rule(
        "published",
        "port-published",
        "Compose publishes a port to the network",
        "begin it with 127.0.0.1:, and put a reverse proxy before what others shall reach",
    ),
    Rule(
        "listens",
        "listens-outside",
        "The running collector listens outside of loopback, or not at all",
        "look for an address that is fixed in otel-collector-config.yaml",
    ),
    Rule(
        "one-setting",
        "retention-settings",
        "The retention does not come from the one setting",
        "let the exporter's ttl be ${env:TELEMETRY_TTL:-72h}, once",
    ),
    Rule(
        "retention",
        "retention-default",
        "The retention by default is not the declared one",
        "correct the default, or `observability.retention_hours`",
    ),
    Rule(
        "setting-reaches",
        "retention-ignored",
        "The setting does not reach every table",
        "let the exporter create the tables, with its ttl",
    ),
    Rule(
        "no-default",
        "secret-default",
        "A secret has a default, or is not asked for",
        "write ${NAME:?set it in .env}: nothing starts with a password that is known",
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen."""
    return judge_probes(RULES, facts)
