"""`smos rls`: is every tenant kept apart by row security? Works on any PostgreSQL from version 15."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smos.cli import console

if TYPE_CHECKING:
    from smos.rls.facts import ProbeFacts
    from smos.rls.finding import IsolationFinding

_STYLES = {
    "leak": "bold red", "write": "bold red", "oracle": "red", "availability": "magenta", "not-proven": "yellow",
    "risk": "dim",
}  # fmt: skip


def rls(
    dsn: Annotated[
        str,
        typer.Argument(
            help="Database: postgresql://role@host/name, or service=NAME. Default: PGHOST, PGUSER, PGDATABASE …"
            " Keep the password in ~/.pgpass or PGPASSWORD: an argument can be seen by others."
        ),
    ] = "",
    role: Annotated[list[str] | None, typer.Option(help="A role of the application; repeatable.")] = None,
    trust: Annotated[list[str] | None, typer.Option(help="A role that may see every tenant.")] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            help="How a tenant is told, where policies don't say: 'SET LOCAL app.tenant_id = {tenant}'."
        ),
    ] = None,
    tenant: Annotated[list[str] | None, typer.Option(help="A tenant that has rows; give two.")] = None,
    shared: Annotated[
        list[str] | None, typer.Option(help="schema.table that all tenants share on purpose.")
    ] = None,
    shared_in_tenant: Annotated[
        list[str] | None, typer.Option(help="schema.table that the users of one tenant share on purpose.")
    ] = None,
    sarif: Annotated[Path | None, typer.Option(help="Also write SARIF 2.1.0 to this file.")] = None,
    lock_timeout: Annotated[float, typer.Option(help="Seconds that a lock is waited for.")] = 2,
    statement_timeout: Annotated[
        float, typer.Option(help="Seconds that a batch of statements may take.")
    ] = 30,
    *,
    probe_writes: Annotated[
        bool, typer.Option("--probe-writes", help="Try writes in the database itself; always rolled back.")
    ] = False,
    read_only: Annotated[
        bool,
        typer.Option("--read-only", help="No copy of the schema either: only read; writes stay unproven."),
    ] = False,
    with_pgrls: Annotated[
        bool, typer.Option("--pgrls/--no-pgrls", help="A second opinion, where installed.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Act as every role of the application, for one tenant, and look for rows of another.

    The database is only read; whatever writes is tried on a copy of its schema, without rows, in a private server.

    Examples: smos rls service=shop; PGDATABASE=shop smos rls --json; smos rls postgresql://dba@db/shop --role app
    """
    from smos.errors import TargetError
    from smos.rls.facts import Mode, ProbeOptions
    from smos.rls.judge import isolation_findings, judge_isolation
    from smos.rls.probe import probe

    if probe_writes and read_only:
        raise TargetError("--probe-writes and --read-only exclude each other", remedy="give one of them")
    options = ProbeOptions(
        mode=Mode.IN_PLACE if probe_writes else Mode.READ_ONLY if read_only else Mode.CLONE,
        roles=tuple(role or ()),
        trusted=tuple(trust or ()),
        contexts=tuple(context or ()),
        tenants=tuple(tenant or ()),
        shared=tuple(shared or ()),
        shared_in_tenant=tuple(shared_in_tenant or ()),
        lock_timeout_s=lock_timeout,
        statement_timeout_s=statement_timeout,
    )
    facts = probe(dsn, options, progress=console.say)
    findings = isolation_findings(facts)
    if with_pgrls:
        findings = _second_opinion(dsn, facts, findings)
    judgement = judge_isolation(facts, findings)
    if sarif is not None:
        # Its models take long to build, and few ask for them.
        from smos.rls.sarif import to_sarif

        sarif.write_text(to_sarif(findings, facts.schema.database), encoding="utf-8")
    if as_json:
        console.print_json({"verdict": str(judgement.verdict), **judgement.facts})
    else:
        _show(facts, findings, str(judgement.verdict))
    raise typer.Exit(console.exit_of_verdict(judgement.verdict))


def _second_opinion(
    dsn: str, facts: "ProbeFacts", findings: "tuple[IsolationFinding, ...]"
) -> "tuple[IsolationFinding, ...]":
    from smos.errors import ProvisionError
    from smos.rls import pgrls
    from smos.rls.discover import connect

    if not pgrls.is_installed():
        console.say("pgrls is not installed (the extra `rls`): no second opinion")
        return findings
    console.say("asking pgrls for a second opinion")
    schemas = sorted({item.schema for item in facts.schema.tables()})
    try:
        with connect(dsn) as connection:
            violations = pgrls.lint(connection, schemas)
    except ProvisionError as error:
        console.say(f"no second opinion: {error.message}")
        return findings
    return pgrls.join(findings, violations)


def _show(facts: "ProbeFacts", findings: "tuple[IsolationFinding, ...]", verdict: str) -> None:
    from rich.text import Text

    rows = [
        (
            Text(str(item.severity), style=_STYLES[item.severity]),
            item.code,
            item.target,
            item.role or "-",
            item.operation or "-",
            item.why + (f" [{', '.join(item.also)}]" if item.also else ""),
        )
        for item in findings
        if not item.code.startswith("pgrls-")
    ]
    if rows:
        console.print_table("", ("Severity", "Finding", "Object", "Role", "Operation", "Why"), rows)
    fixes = dict.fromkeys((item.code, item.target, item.fix) for item in findings if item.severity != "risk")
    out = console.console()
    for code, target, fix in fixes:
        out.print(f"\n-- {code}: {target}\n{fix}", soft_wrap=True)
    alone = sum(item.code.startswith("pgrls-") for item in findings)
    owned = sum(item.owned for item in facts.tables.values())
    out.print(
        f"\n{verdict}: {owned} tables of tenants, {len(facts.probed)} roles ({', '.join(facts.probed) or 'none'}),"
        f" context {', '.join(facts.contexts) or 'unknown'}, {facts.statements} statements tried ({facts.mode})"
        + (f"; pgrls alone says {alone} more things, see --json" if alone else ""),
        soft_wrap=True,
    )
