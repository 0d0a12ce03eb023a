"""Options of a run. The work is done in fixtures/ (pytest's side) and smos/ (everything else)."""

import pytest

pytest_plugins = [
    "fixtures.selection",
    "fixtures.target",
    "fixtures.orphans",
    "fixtures.backups",
    "fixtures.evidence",
    "fixtures.faults",
    "fixtures.fault_lab",
    "fixtures.campaign",
    "fixtures.containers",
    "fixtures.container_lab",
    "fixtures.vault",
    "fixtures.demo",
    "fixtures.rls",
    "fixtures.observability",
    "fixtures.pitr",
    "fixtures.failover",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; each has an environment variable too (docs/target.md), and the option wins."""
    group = parser.getgroup("smarteros", "SmarterOS Verify")
    group.addoption(
        "--target",
        dest="smos_target",
        metavar="FILE",
        help="what is verified (default: smos.yml, else self-test)",
    )
    group.addoption(
        "--provision",
        dest="smos_provision",
        metavar="HOW",
        help="where servers come from: auto, embedded, docker or live (default: auto)",
    )
    group.addoption(
        "--backups", dest="smos_backups", metavar="DIR", help="verify the backups in this directory"
    )
    group.addoption(
        "--reports", dest="smos_reports", metavar="DIR", help="where the reports go (default: reports)"
    )
    group.addoption(
        "--signing-key",
        dest="smos_signing_key",
        metavar="KEY",
        help="sign what the run leaves: an Ed25519 private key (PEM, 0600), or hv:NAME of a signing Vault",
    )
    group.addoption(
        "--approver",
        dest="smos_approver",
        metavar="NAME",
        help="who approved this run, for the signed statement",
    )
    group.addoption(
        "--lang",
        dest="smos_language",
        metavar="LANG",
        help="language of evidence.html: en or es (default: LANG)",
    )
    group.addoption(
        "--dsn",
        dest="smos_dsn",
        metavar="DSN",
        help="the database that -m rls probes, without a password (it is only read)",
    )
    group.addoption(
        "--waivers",
        dest="smos_waivers",
        metavar="FILE",
        help="accepted gaps (default: waivers.yml beside the target)",
    )
