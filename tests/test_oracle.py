"""The drill's own comparison, held against an oracle that shares no code with it: sorted plain dumps of both sides.

Fingerprints could be blind in the same way on source and sandbox; `pg_dump | sort` is not.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from smos.backup.catalog import read_catalog
from smos.backup.create import BackupSource, create_backup
from smos.clock import SystemClock
from smos.drill.content import read_and_compare
from smos.drill.plan import RestorePlan, choose_set, make_plan
from smos.drill.restore import RestoreFacts, restore_set
from smos.drill.sandbox import LOADING_SETTINGS, SANDBOX_ADMIN
from smos.postgres.fingerprint import read_content
from smos.postgres.hashing import HashMode
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.selftest.source import fill_databases
from smos.target import Limits

DATABASES = ("smarteros", "n8n", "chatwoot", "botpress")


BothSides = tuple[EmbeddedPostgres, EmbeddedPostgres, RestorePlan, RestoreFacts]


@pytest.fixture(scope="module")
def both_sides(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[BothSides]:
    backups = tmp_path_factory.mktemp("backups")
    with Owner("test-oracle") as owner:
        source = EmbeddedPostgres(owner, name="source", settings={"fsync": "off"}, memory=True)
        source.start()
        fill_databases(source, DATABASES)
        create_backup(
            BackupSource(
                name="oracle", postgres=source.endpoint, installation=source.installation, databases=DATABASES
            ),
            backups,
            clock=SystemClock(),
        )
        sandbox = EmbeddedPostgres(
            owner, name="sandbox", settings=LOADING_SETTINGS, no_network=True, superuser=SANDBOX_ADMIN
        )
        sandbox.start()
        catalog = read_catalog(backups, timezone="UTC")
        plan = make_plan(catalog, choose_set(catalog, None))
        facts = restore_set(
            sandbox, plan.dumps, plan.globals_path, limits=Limits(), jobs=2,
            scratch=owner.directory("scratch"), progress=lambda _text: None,
        )  # fmt: skip
        assert all(item.restored for item in facts.databases), facts
        yield source, sandbox, plan, facts


def sorted_dump(server: EmbeddedPostgres, *words: str | Path) -> list[str]:
    """Every line of a plain dump, sorted; without comments and the random tokens of psql's restricted mode."""
    text = subprocess.run(
        [*words, "--no-password"],
        env={"LC_ALL": "C", **server.endpoint.env()},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = (line for line in text.splitlines() if line and not line.startswith("--"))
    return sorted(line for line in lines if not re.match(r"\\(un)?restrict ", line))


@pytest.mark.parametrize("database", DATABASES)
def test_sorted_plain_dumps_of_source_and_sandbox_are_the_same(both_sides: BothSides, database: str) -> None:
    source, sandbox = (
        sorted_dump(side, side.installation.tool("pg_dump"), "--create", f"--dbname={database}")
        for side in both_sides[:2]
    )
    assert source == sandbox
    assert len(source) > 100


def test_sorted_globals_of_source_and_sandbox_are_the_same(
    both_sides: BothSides,
) -> None:
    def roles(side: EmbeddedPostgres) -> list[str]:
        lines = sorted_dump(
            side, side.installation.tool("pg_dumpall"), "--globals-only", "--database=postgres"
        )
        # The sandbox's administrators are its own, the backup's superuser is never made one here, and so a
        # membership has another grantor (DR-03 notes it).
        own = re.compile(r"ROLE (smos_sandbox|postgres)|TO smos_sandbox")
        return [re.sub(r" GRANTED BY \w+;", ";", line) for line in lines if not own.search(line)]

    source, sandbox = (roles(side) for side in both_sides[:2])
    assert source == sandbox
    assert any("smarteros_support" in line for line in source)


@pytest.mark.parametrize("mode", [HashMode.FAST_1, HashMode.SHA256])
def test_a_manifest_is_compared_in_the_mode_it_was_made_in(both_sides: BothSides, mode: HashMode) -> None:
    """One of an earlier version holds other hashes. They prove as much: nothing is left unread, a change is seen."""
    source, sandbox, plan, facts = both_sides
    assert plan.manifest is not None

    def differences() -> tuple[str, ...]:
        (item,) = read_and_compare(sandbox, older, only, {}, 2).facts
        return tuple(difference.code for difference in item.differences)

    content = read_content(lambda: psycopg.connect(source.endpoint.conninfo("n8n")), mode=mode)
    (entry,) = (item for item in plan.manifest.databases if item.name == "n8n")
    old = entry.model_copy(update={"content": content.to_json()})
    older = replace(plan, manifest=plan.manifest.model_copy(update={"databases": (old,)}))
    only = replace(facts, databases=tuple(item for item in facts.databases if item.name == "n8n"))
    assert differences() == ()
    table = next(name for name, one in content.tables.items() if one.rows)
    first, _, rest = str(content.tables[table].hash).partition(":")
    forged = replace(content.tables[table], hash=f"{int(first) + 1}:{rest}")
    changed = replace(content, tables={**content.tables, table: forged})
    lie = entry.model_copy(update={"content": changed.to_json()})
    older = replace(plan, manifest=plan.manifest.model_copy(update={"databases": (lie,)}))
    assert differences() == ("values-changed",)
