"""DEMO-01 and DEMO-02: the seed, against the specification and against itself."""

from collections import Counter
from collections.abc import Iterator

from smos.demo.chile import is_valid_rut
from smos.demo.expected import CATEGORIES, DIGESTS, ORDER_STATES, ROWS, TIMEZONE, USER
from smos.demo.verify.facts import ReseedFacts, SeedFacts
from smos.verdict import Finding, Judgement, fail

LOAD = "load compose/demo/seed.sql again as demo_seeder, and find out who could change the seed"
MOJIBAKE = (
    "\N{LATIN CAPITAL LETTER A WITH TILDE}",
    "\N{LATIN CAPITAL LETTER A WITH CIRCUMFLEX}",
    "\ufffd",
    "?\N{LATIN SMALL LETTER N WITH TILDE}",
)
"""Marks of UTF-8 that was read as Latin-1, and of text that was lost. None occurs in Chilean Spanish."""
SPANISH = "áéíóúñÑü¿¡"
OFFSETS = (-3, -4)
"""Hours from UTC in Chile's summer and winter."""


def judge_seed(facts: SeedFacts) -> Judgement:
    """Judge what the seed left in the database."""
    findings = [*_numbers(facts), *_products(facts), *_people(facts), *_database(facts)]
    known = {finding.code for finding in findings}
    if not known & {"seed-count"}:
        findings += [
            fail("seed-differs", f"{table}: the seed's rows are not the specified ones, byte by byte", LOAD)
            for table, digest in DIGESTS.items()
            if facts.digests.get(table) != digest
        ]
    return Judgement(
        tuple(findings),
        {
            "rows": dict(facts.rows),
            "categories": dict(sorted(Counter(item.category for item in facts.products).items())),
            "order_states": list(facts.order_states),
            "timezone": facts.timezone,
            "digests": dict(facts.digests),
        },
    )


def _numbers(facts: SeedFacts) -> Iterator[Finding]:
    for table, wanted in ROWS.items():
        seen = facts.rows.get(table, 0)
        if seen != wanted:
            yield fail("seed-count", f"{table}: {seen} seed rows instead of {wanted}", LOAD)
    for table, number in facts.other_rows.items():
        if number:
            yield fail(
                "seed-not-alone", f"{table}: {number} rows that are not the seed's, right after seeding", LOAD
            )


def _products(facts: SeedFacts) -> Iterator[Finding]:
    categories = Counter(item.category for item in facts.products)
    for name in CATEGORIES:
        if name not in categories:
            yield fail("category-missing", f"no product of the category {name}", LOAD)
    for name in sorted(set(categories) - set(CATEGORIES)):
        yield fail("category-unknown", f"a category that is not specified: {name!r}", LOAD)
    for item in facts.products:
        if not item.price.isdecimal() or int(item.price) <= 0:
            yield fail(
                "price-not-clp",
                f"{item.sku}: the price {item.price} is no positive whole number of pesos",
                LOAD,
            )
    if facts.price_type not in {"bigint", "integer"}:
        yield fail(
            "price-type",
            f"prices are kept as {facts.price_type}, which can hold what CLP has not: decimals",
            "keep CLP in bigint",
        )
    if facts.lines_apart_from_price:
        yield fail(
            "order-total-wrong",
            f"{facts.lines_apart_from_price} order lines whose price or total is not their product's",
            LOAD,
        )
    if sorted(facts.order_states) != sorted(ORDER_STATES):
        yield fail(
            "order-states",
            f"the orders are {', '.join(facts.order_states) or 'missing'}; wanted: {', '.join(ORDER_STATES)}",
            LOAD,
        )


def _people(facts: SeedFacts) -> Iterator[Finding]:
    if facts.emails != (USER,):
        yield fail("seed-users", f"{len(facts.emails)} seeded users; wanted: {USER} and nobody else", LOAD)
    for text in facts.ruts:
        if not is_valid_rut(text):
            yield fail("rut-invalid", f"the RUT {text} has a wrong check digit or form", LOAD)
    if not facts.ruts:
        yield fail("rut-invalid", "the seed has no RUT", LOAD)
    for text in facts.texts:
        if any(mark in text for mark in MOJIBAKE):
            yield fail("text-mojibake", f"a text was read in the wrong encoding: {text[:60]!r}", LOAD)
    if facts.texts and not any(letter in text for text in facts.texts for letter in SPANISH):
        yield fail("text-mojibake", "no text has a Spanish letter any more", LOAD)


def _database(facts: SeedFacts) -> Iterator[Finding]:
    if facts.encoding != "UTF8":
        yield fail(
            "encoding",
            f"the database is in {facts.encoding}",
            "create the demo's database with ENCODING 'UTF8'",
        )
    if facts.timezone != TIMEZONE or facts.local_offsets != OFFSETS:
        yield fail(
            "timezone",
            f"the database's clock is {facts.timezone} (UTC{facts.local_offsets[0]:+d} in January,"
            f" UTC{facts.local_offsets[1]:+d} in July)",
            f"load compose/demo/database.sql: the time zone is {TIMEZONE}",
        )
    for name in facts.unvalidated_constraints:
        yield fail("constraint-missing", f"{name} is not validated", "ALTER TABLE … VALIDATE CONSTRAINT")
    for name in facts.missing_constraints:
        yield fail(
            "constraint-missing", f"{name} is missing", "load compose/demo/init.sql into a new database"
        )


def judge_reseed(facts: ReseedFacts) -> Judgement:
    """Judge a second run of the seed, a repair, and a run into an empty schema."""
    findings: list[Finding] = []
    if facts.error:
        findings.append(
            fail(
                "seed-failed",
                f"the seed, run again as demo_seeder, failed with {facts.error}",
                "make the seed idempotent",
            )
        )
    idempotent = "INSERT … ON CONFLICT (key) DO UPDATE … WHERE … IS DISTINCT FROM, with fixed keys"
    for table, before in facts.before.items():
        if facts.after.get(table) != before:
            findings.append(
                fail("seed-not-idempotent", f"{table}: a second run changed what the seed holds", idempotent)
            )
        elif facts.versions_after.get(table) != facts.versions_before.get(table):
            findings.append(
                fail("seed-rewrites", f"{table}: a second run wrote rows that were right already", idempotent)
            )
        if facts.repaired.get(table) != before:
            findings.append(
                fail(
                    "seed-not-repaired", f"{table}: what an operator had broken did not come back", idempotent
                )
            )
        if facts.fresh.get(table) != before:
            findings.append(
                fail(
                    "seed-not-deterministic",
                    f"{table}: another run, into an empty database, gave other rows",
                    "no now(), random() or gen_random_uuid() in the seed",
                )
            )
    if facts.visitors_before != facts.visitors_after:
        findings.append(
            fail(
                "seed-touches-visitors",
                "seeding changed rows that visitors had made",
                "touch rows of origin `seed` only",
            )
        )
    return Judgement(tuple(findings), {"tables": len(facts.before), "error": facts.error})
