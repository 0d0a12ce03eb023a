"""Prints docs/faults.md: `python -m smos.faults > docs/faults.md`."""

import sys

from smos.faults.dr.campaign import LEVELS
from smos.faults.registry import cases, faults

CAMPAIGN = """
Each run of `make prove` tries some 160 cases. The last longer campaign (1,201 cases, seed 20261123; 21 could not be
tried, as the machine had no room for another server): of 1,180, 958 were detected, 220 were harmless and passed, none
was a false alarm, and 2 were missed: an archive in an order that pg_restore can't follow. They are mended and kept in
`examples.yml`, like whatever campaigns found before.

Beside it, one thing after another was changed and nothing else, in databases with one of nearly everything: 464 fields
of tables of contents, 331 statements of a plain dump, 99 lines of globals. What was missed is mended and has a fault
(F12b, F25h to F25m). What still passes: another password verifier, another grantor (docs/known-limitations.md).
""".strip()
"""The last campaign; update it when a longer one has run."""
HEAD = """# Faults: every check is seen to fail

A check that has never failed is no evidence. `make prove` (`pytest -m negative`) takes the built-in source's week of
backups, breaks a copy of it in {faults} named ways, runs the real driver and the real judge of each check that must
notice, and expects the verdict, a finding code, and that the finding names what was broken. Copies that nothing was
done to, dumps and archives that were only made anew, and a Vault that nobody damaged must pass in the same run.

The result is `reports/detection.json` (schema 1), a table in `reports/summary.md`, and a page in the Allure results:
n of N cases detected, by check and suite, and the number of false alarms. It writes no verdict on your backups.

## Variants

| Variant | The manifest | What it shows |
|---|---|---|
| as-is | as the backup wrote it | what the hashes catch, and what the content catches besides |
| rehashed | hashes made to fit, signed again with the real key | that SHA-256 is not the only thing that catches it |
| without-manifest | manifest and signature deleted | what is known of backups of other tools, and what is not |

Without a manifest nobody can say that a row is missing: DR-03 then says NOT_PROVEN, never PASS.

## Attacks are tried for real

F32, F50 to F52 and F75 aim at something that exists: a file outside of the sandbox that every user may write to, a
listener on loopback that counts connections, a running server with the source's identity. A case counts as detected
only when the check says so *and* nothing outside of the sandbox was reached.

## Vault

The Vault suite's faults strike a private, bootstrapped OpenBao with root rights, and are undone after each case: keys,
policies, roles and mounts are really made wrong. Where only a broken server could do the wrong thing, the wire between
check and server lies (`smos/faults/vault/wire.py`): it drops `derived` from the making of a key, and the real server
then makes a key without derivation. The function gets a `VaultWork`: `with_root`, `afterwards`, `subject`, `requests`,
`replies`, `instead`.

## Failover

F73, F74 and F450 to F479 leave out or spoil a step of the drill's procedure (`FailoverWork.steps`: the fence, the
choice, the promotion, what clients are told, the rewind), change what commits wait for, or change rows on the new
primary; the load, the disaster and the servers are real. For a Vault cluster the wire lies.

## Row-level security

F200 to F219 break the demo's own schema. F250 to F299 break sound schemas of other styles
(`smos/faults/rls/schemas/`: one tenant column, Supabase's, a hierarchy, …), so that RLS-01, which knows none
of them, is seen to find what it must on any database. Each is one line of data in `smos/faults/rls/pitfalls.py`: a
patch in SQL, and the finding that must name the object.

## Physical backups

F40 to F46 and F400 to F449 get a `PitrWorkspace`: a copy of the built-in source's base backups (a directory, tars, an
incremental chain) and of its archive. `edit_page` changes a data page and makes its checksum fit, `rehash` makes the
manifest fit, so that only replay, amcheck or the source's content can tell; `run_with` takes the sandbox's protection
away; `meanwhile` does something to the archive while the drill runs.

## Unlisted damage

Faults with a name are damage that somebody thought of. So `make prove` also breaks copies at random (hypothesis draws,
`suites/dr/negative/test_campaign.py`), at {levels} levels: bytes and files of a set, sets of the directory, statements
of the manifest, rows and objects of a database, lines and bytes of dumps and globals, fields of a dump's table of
contents, other options of pg_dump, files of volumes, members and headers of archives, Vault's rules and keys. Below the
level of files, hashes and signature are made to fit: only content can give the damage away.

Whether anything changed is said by an oracle that never asks the product: a list of bytes; psql, pg_restore, pg_dump
and pg_dumpall in a server of their own; GNU tar and a walk over the tree; the list of what Vault's root did. Any
changed byte of a set must fail DR-02; what changes the restored content must be noticed by it (DR-03, DR-04, DR-06);
what changes nothing must pass. Where a person's tools disagree among themselves, or restore the same with complaints, a
check may object and need not.

    make campaign EXAMPLES=2000            # longer; the seed is printed
    make campaign EXAMPLES=2000 SEED=7     # the same again

`reports/detection.json` (`campaign`) has the numbers, every survivor's reason, and the case of whatever went wrong;
such cases stay in `suites/dr/negative/examples.yml` and are tried in every run. CI draws the same cases every time
(`make prove SEED=1`), so that whether a change is sound is no matter of luck; else `make prove` and campaigns draw
others.

{campaign}

## Adding a fault

One small function in `smos/faults/`:

    @fault("F22a", "A table is missing", "dump", content("table-missing", "attachments"), databases=("chatwoot",))
    def table_missing(work: Workspace) -> None:
        work.edit_dump("chatwoot", "DROP TABLE attachments")

`content(…)` expects damage in a dump to be caught by its bytes as it is, and by its content when the hashes fit;
`everywhere(…)` expects one finding in all three variants; `caught(…)` is a single expectation. The function gets a
`Workspace`, a copy of its own: files (`replace`, `drop`, `flip`), dumps (`edit_dump` runs SQL on a restored clone and
dumps it again, `edit_data` edits a data file), volumes (`rearchive`, `edit_headers`), Vault (`damage_vault`,
`edit_escrow`), manifests (`rewrite`, `rehash`, `sign`, `date`), what is declared, and `strikes`: what to do to the
sandbox when the drill enters a phase. A check without a fault fails the build (`tests/test_faults_registry.py`).

This page is made by `python -m smos.faults > docs/faults.md`.

## The faults

{cases} cases.

| Fault | What is broken | Strikes | Caught by |
|---|---|---|---|
"""


def main() -> None:
    """Print the page."""
    rows = [f"| {item.id} | {item.title} | {item.breaks} | {', '.join(item.checks)} |\n" for item in faults()]
    sys.stdout.write(
        HEAD.format(faults=len(rows), cases=len(cases()), levels=len(LEVELS), campaign=CAMPAIGN)
        + "".join(rows)
    )


if __name__ == "__main__":
    main()
