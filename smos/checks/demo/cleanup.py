"""DEMO-03 and DEMO-04: what the clean-up removed, and how it went about it."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from smos.demo.verify.facts import BatchFacts, CleanupFacts
from smos.verdict import Finding, Judgement, fail, not_proven

LOAD = "load compose/demo/cleanup.sql (and init.sql for the policies) again"
PARENTS = {
    "messages": "conversations",
    "order_lines": "orders",
    "conversations": "users",
    "orders": "users",
    "analytics_events": "users",
    "products": "tenants",
    "users": "tenants",
}
DENIED = "42501"
"""SQLSTATE insufficient_privilege."""
SECONDS_WHILE_LOCKED = 4
"""Most seconds that a clean-up may take while somebody holds a row: it skips what is locked, and
would wait 5 s for it otherwise."""
REFUSALS = {
    "days = 0": "P0001",
    "batch = 0": "P0001",
    "seed rows, deleted directly": "nothing",
    "kept rows, deleted directly": "nothing",
    "names of people": "42501",
    "texts of messages": "42501",
    "a change of origin": "42501",
    "the application as the caller": "42501",
    "a database that does not say it is the demo": "P0001",
}
"""What must be refused, and how: by the procedure, by rights, or by a policy that leaves nothing to delete."""


def judge_cleanup(facts: CleanupFacts) -> Judgement:
    """Judge which rows went and which stayed."""
    findings: list[Finding] = []
    if facts.error:
        findings.append(fail("cleanup-failed", f"the clean-up failed with {facts.error}", LOAD))
    elif not facts.rows or not facts.real_clock:
        findings.append(not_proven("cleanup-not-tried", "no row was planted for the clean-up", "report this"))
    for row in (*facts.real_clock, *facts.rows):
        if row.must_go and not row.gone:
            findings.append(
                fail("expired-kept", f"{row.table}: {row.label} is still there after {facts.days} days", LOAD)
            )
        if row.gone and not row.must_go:
            permanent = "kept" in row.label.split(" ", 1)[0]
            code = "permanent-deleted" if permanent else "live-deleted"
            findings.append(fail(code, f"{row.table}: {row.label} was removed", LOAD))
    if facts.seed_before != facts.seed_after:
        findings.append(
            fail(
                "permanent-deleted",
                "rows of origin `seed` or `kept` were changed or removed by the clean-up",
                LOAD,
            )
        )
    if not facts.error and not facts.finished:
        findings.append(fail("cleanup-unfinished", "the clean-up says that it did not finish", LOAD))
    if facts.again:
        findings.append(
            fail(
                "cleanup-not-idempotent",
                f"a second run at the same moment removed {facts.again} more rows",
                LOAD,
            )
        )
    planted = sum(row.must_go for row in facts.rows)
    if not facts.error and facts.removed != facts.vanished:
        findings.append(
            fail(
                "cleanup-miscounts",
                f"it says that it removed {facts.removed} rows; {facts.vanished} are gone",
                LOAD,
            )
        )
    return Judgement(
        tuple(findings),
        {
            "days": facts.days,
            "planted": len(facts.rows) + len(facts.real_clock),
            "expired": planted,
            "removed": facts.removed,
            "by_table": dict(sorted(Counter(row.table for row in facts.rows if row.gone).items())),
        },
    )


def judge_batches(facts: BatchFacts) -> Judgement:
    """Judge how a clean-up of many rows went about it."""
    findings = [*_work(facts), *_refused(facts)]
    transactions: dict[str, int] = defaultdict(int)
    for item in facts.deletions:
        transactions[item.transaction] += item.rows
    return Judgement(
        tuple(findings),
        {
            "expired": facts.expired,
            "batch": facts.batch,
            "transactions": len(transactions),
            "largest": max(transactions.values(), default=0),
            "seconds_while_locked": facts.locked_seconds,
            "refused": dict(facts.refuses),
        },
    )


def _work(facts: BatchFacts) -> Iterator[Finding]:
    if facts.error:
        yield fail("cleanup-failed", f"the clean-up failed with {facts.error}", LOAD)
        return
    if not facts.deletions:
        yield fail("expired-kept", f"none of {facts.expired} expired rows was removed", LOAD)
        return
    sizes: dict[str, int] = defaultdict(int)
    for item in facts.deletions:
        sizes[item.transaction] += item.rows
    largest = max(sizes.values())
    if largest > facts.batch:
        yield fail(
            "batch-unbounded",
            f"one transaction removed {largest} rows; at most {facts.batch} were asked for",
            LOAD,
        )
    yield from _order(facts)
    yield from _stops(facts)


def _order(facts: BatchFacts) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for place, item in enumerate(facts.deletions):
        first.setdefault(item.table, place)
    for child, parent in PARENTS.items():
        if child in first and parent in first and first[parent] < first[child]:
            yield fail("order-wrong", f"{parent} were removed before {child}, which refer to them", LOAD)


def _stops(facts: BatchFacts) -> Iterator[Finding]:
    if facts.stopped_finished or facts.after_stop < facts.expired - 2 * facts.batch:
        yield fail(
            "not-stoppable",
            f"told to stop after two batches of {facts.batch}, it left {facts.after_stop} of {facts.expired} rows"
            f" and said {'finished' if facts.stopped_finished else 'not finished'}",
            LOAD,
        )
    if facts.left:
        yield fail(
            "expired-kept", f"{facts.left} of {facts.expired} expired rows are left after it ran again", LOAD
        )
    if facts.locked_seconds > SECONDS_WHILE_LOCKED or not facts.locked_kept:
        yield fail(
            "lock-not-skipped",
            f"while another session held a row it took {facts.locked_seconds:.1f} s"
            f" and the row was {'left alone' if facts.locked_kept else 'removed'}",
            "SELECT … FOR UPDATE SKIP LOCKED, and a lock_timeout",
        )
    if not facts.locked_later:
        yield fail("expired-kept", "a row that had been locked was not removed by the next run", LOAD)


def _refused(facts: BatchFacts) -> Iterator[Finding]:
    if facts.error:
        return
    for what, wanted in REFUSALS.items():
        seen = facts.refuses.get(what)
        if seen is None:
            yield not_proven("refusal-not-tried", f"not tried: {what}", "report this")
        elif seen == wanted:
            continue
        elif seen in {"accepted", "nothing"}:
            yield fail(
                "maintenance-too-powerful", f"the clean-up's role was not refused: {what} ({seen})", LOAD
            )
        elif wanted == "nothing" and seen == DENIED:
            continue  # the right itself is missing, which is more than was asked for
        else:
            # Whoever gets as far as another error may have the right: a slow server or a lost table refuses nothing.
            yield not_proven(
                "refusal-not-shown",
                f"not shown that it is refused: {what} (it ended with {seen} instead of {wanted})",
                "see what the server's log says of it, and run again",
            )
