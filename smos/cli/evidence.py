"""`smos evidence`: keys, signing what a run left, and verifying it offline."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smos.cli import console

if TYPE_CHECKING:
    from smos.evidence.store import Moved
    from smos.evidence.verify import Verification
    from smos.target import Evidence, Settings

app = typer.Typer(help="Sign what a run left, and verify it offline.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TargetFile = Annotated[
    str | None, typer.Option("--target", help="Target file with `evidence:` (default: smos.yml).")
]


@app.command()
def keygen(
    private_key: Annotated[
        str, typer.Argument(help="Where the private key goes (0600); or hv:NAME, a signing Vault's key.")
    ],
    public_key: Annotated[Path, typer.Argument(help="Where the public key goes: for whoever verifies.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Make the Ed25519 key pair that signs evidence, or write out the public key of a signing Vault's key.

    Example: smos evidence keygen ~/keys/evidence.pem evidence.pub
    """
    from smos.backup.signing import generate_keypair
    from smos.errors import SmosError

    if private_key.startswith("hv:"):
        from smos.evidence.signers import public_pem

        data = public_pem(private_key)
        try:
            with public_key.open("xb") as file:
                file.write(data)
        except OSError as error:
            raise SmosError(
                f"The key file {public_key} can't be created: {error.strerror}",
                remedy="give a path that does not exist yet",
            ) from error
    else:
        generate_keypair(Path(private_key), public_key)
        console.say(f"private: {private_key} (0600); keep it away from what it speaks about")
    keys = {"private": private_key, "public": str(public_key)}
    console.result(str(public_key), keys, as_json=as_json)


@app.command()
def sign(
    reports: Annotated[Path, typer.Argument(help="Reports directory of a run that has ended.")] = Path(
        "reports"
    ),
    key: Annotated[
        str | None, typer.Option(help="Private key (PEM, 0600) or hv:NAME (default: evidence.signing_key).")
    ] = None,
    timestamp_url: Annotated[
        str | None, typer.Option("--tsa", help="RFC 3161 authority (default: evidence.timestamp_url).")
    ] = None,
    target: TargetFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Sign what the newest run left, into reports/evidence/; runs with a key have done so already.

    Example: smos evidence sign reports --key ~/keys/evidence.pem
    """
    from smos.clock import SystemClock
    from smos.errors import TargetError
    from smos.evidence.bundle import seal
    from smos.evidence.signers import load_signer, require_apart

    declared = _declared(target, key)
    if declared.signing_key is None:
        raise TargetError(
            "There is no key to sign with",
            remedy="give --key, set SMOS_SIGNING_KEY, or name evidence.signing_key in the target file;"
            " smos evidence keygen makes one",
        )
    require_apart(declared.signing_key, reports)
    bundle = seal(
        reports,
        load_signer(declared.signing_key),
        clock=SystemClock(),
        timestamp_url=timestamp_url or declared.timestamp_url,
    )
    console.result(str(bundle), {"bundle": str(bundle)}, as_json=as_json)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A bundle, a folder of bundles, or a reports directory.")],
    key: Annotated[
        Path | None, typer.Option(help="Public key (PEM) that you pinned (default: evidence.public_key).")
    ] = None,
    authority: Annotated[
        Path | None, typer.Option("--tsa-ca", help="Certificates (PEM) of the time-stamping authority.")
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="Judge the expiry as of this day, YYYY-MM-DD (default: today, UTC).")
    ] = None,
    about: Annotated[
        str | None, typer.Option(help="Name of the target that the evidence must be about (default: any).")
    ] = None,
    scope: Annotated[
        str | None, typer.Option(help="Scope that it must be of: production or self-test (default: any).")
    ] = None,
    target: TargetFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Verify signed evidence offline: signature, digests, completeness, history, order, expiry.

    Code 0: it is what was signed. 1: something was altered. 10: nobody's signature was checked, it has expired, or
    it is about something else than --about and --scope ask for. What the run itself said is shown beside it.

    Example: smos evidence verify reports --key evidence.pub --scope production --about shop
    """
    from smos.clock import SystemClock
    from smos.errors import TargetError
    from smos.evidence.signers import load_public
    from smos.evidence.verify import verify as verify_folder
    from smos.target import Scope
    from smos.verdict import Verdict

    try:
        today = date.fromisoformat(on) if on else SystemClock().now().date()
    except ValueError as error:
        raise TargetError(f"{on!r} is no date", remedy="write it as YYYY-MM-DD") from error
    if scope is not None and scope not in list(Scope):
        raise TargetError(f"{scope!r} is no scope", remedy="use production or self-test")
    public = key or _declared(target, None).public_key
    found = verify_folder(
        folder,
        key=load_public(public) if public else None,
        today=today,
        authority=authority,
        about=about,
        scope=scope,
    )
    result = Verdict.worst(one.result for one in found)
    if as_json:
        console.print_json({"result": result.value, "bundles": [_json(one) for one in found]})
    else:
        for one in found:
            _show(one)
    raise typer.Exit(int(console.exit_of_verdict(result)))


@app.command()
def push(
    reports: Annotated[Path, typer.Argument(help="Reports directory of a run that has ended.")] = Path(
        "reports"
    ),
    target: TargetFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Bring the newest run and the history to the store that the target names; runs do so at their end by themselves.

    What is here stays as it is, whatever happens. Example: smos evidence push reports --target production.yml
    """
    from smos.evidence.store import opened
    from smos.evidence.store import push as push_run

    settings, name = _stored(target)
    with opened(settings) as store:
        moved = push_run(reports, name, store)
    if as_json:
        console.print_json(_moved(moved))
    else:
        console.tell(
            f"{moved.run}: {moved.files} files and {moved.history_lines} lines of history are in {moved.where}"
        )


@app.command()
def pull(
    reports: Annotated[Path, typer.Argument(help="Reports directory of the next run.")] = Path("reports"),
    target: TargetFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Take history, baseline and the last signed bundle from the store; runs do so at their beginning by themselves.

    Example: smos evidence pull reports --target production.yml
    """
    from smos.evidence.store import opened
    from smos.evidence.store import pull as pull_history

    settings, name = _stored(target)
    with opened(settings) as store:
        moved = pull_history(reports, name, store)
    if as_json:
        console.print_json(_moved(moved))
    else:
        console.tell(
            f"{moved.files} files came from {moved.where}; {moved.history_lines} runs are in the history"
        )


def _stored(target: str | None) -> "tuple[Settings, str]":
    """Return the settings, and the target's name. Raises TargetError where there is no target."""
    from smos.errors import TargetError
    from smos.target import resolve_settings

    settings = resolve_settings(target=target)
    if settings.target is None:
        raise TargetError("There is no target file", remedy="give --target; its evidence.store is meant")
    return settings, settings.target.name


def _moved(moved: "Moved") -> dict[str, object]:
    return {
        "store": moved.where,
        "run": moved.run,
        "files": moved.files,
        "history_lines": moved.history_lines,
    }


@app.command()
def page(
    reports: Annotated[Path, typer.Argument(help="Reports directory of a run that has ended.")] = Path(
        "reports"
    ),
    language: Annotated[str | None, typer.Option("--lang", help="en or es (default: LANG).")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Render evidence.html of the newest run again, for example in the other language. Bundles stay as they are.

    Example: smos evidence page reports --lang es
    """
    from smos.evidence.page import rewrite_page
    from smos.target import Evidence, resolve_evidence

    chosen = resolve_evidence(Evidence(), language=language).language or "en"
    written = str(rewrite_page(reports, chosen))
    console.result(written, {"page": written}, as_json=as_json)


def _show(one: "Verification") -> None:
    from smos.evidence.redact import redact
    from smos.verdict import Verdict

    words = {
        Verdict.PASS: "VERIFIED",
        Verdict.NOT_PROVEN: "NOT PROVEN",
        Verdict.FAIL: "ALTERED",
        Verdict.ERROR: "ERROR",
    }
    says = "says of itself: " if one.result is Verdict.FAIL else ""
    run = (
        f"{says}run {one.run_id} of {one.finished}, about {one.target}, scope {one.scope}, its verdict: {one.verdict}"
        if one.run_id
        else "no statement"
    )
    lines = [f"{words[one.result]}  {one.bundle}  ({run})"]
    for finding in one.findings:
        sign = "note" if finding.verdict is Verdict.PASS else finding.verdict.value
        lines.append(f"  {sign} [{finding.code}] {finding.message}")
    # What an altered bundle says goes to a terminal: no control characters.
    text = "\n".join("".join(char if char.isprintable() else "?" for char in line) for line in lines)
    typer.echo(redact(text))


def _json(one: "Verification") -> dict[str, object]:
    from smos.evidence.results import findings_json

    return {
        "bundle": one.bundle.encode("utf-8", "backslashreplace").decode(),  # a folder's name need not be text
        "result": one.result.value,
        "run_id": one.run_id,
        "scope": one.scope,
        "target": one.target,
        "verdict": one.verdict,
        "finished": one.finished,
        "findings": findings_json(one.findings),
    }


def _declared(target: str | None, signing_key: str | None) -> "Evidence":
    """Return what the target file and the environment say about evidence."""
    from smos.target import resolve_settings

    return resolve_settings(target=target, signing_key=signing_key).evidence
