"""`smos notify`: tell people how a run ended."""

import os
from pathlib import Path
from typing import Annotated

import typer

from smos.cli import console

app = typer.Typer(help="Tell people how a run ended.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Tell people how a run ended."""


@app.command("slack")
def slack(
    reports: Annotated[Path, typer.Option(help="The reports of the run.")] = Path("reports"),
    channel: Annotated[
        str | None, typer.Option(help="Channel, such as #ops-alerts; needs a bot token in SLACK_BOT_TOKEN.")
    ] = None,
    link: Annotated[str | None, typer.Option(help="Address of the evidence or the log.")] = None,
    title: Annotated[str | None, typer.Option(help="What the run was.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for all tries together.", min=1, max=600)] = 60,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the message, send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send verdict, times against objectives and failed checks to Slack; a run without a verdict is told as an error.

    The webhook comes from SLACK_WEBHOOK_URL or `smos config set slack.webhook`, never from an argument.

    Example: smos notify slack --reports reports --link "$RUN_URL"
    """
    from smos.config.store import Config, home
    from smos.errors import AuthenticationError
    from smos.notify.message import compose
    from smos.notify.slack import send_by_token, send_by_webhook

    message = compose(reports, link=link, title=title)
    if dry_run:
        console.print_json({"text": message.text, "blocks": list(message.blocks), "sent": False})
        return
    config = Config(home(os.environ), os.environ)
    webhook, token = config.value("slack.webhook"), config.value("slack.token")
    if channel is not None and token:
        send_by_token(message, str(token), channel, limit_s=timeout)
    elif channel is None and webhook:
        send_by_webhook(message, str(webhook), limit_s=timeout)
    else:
        named = "SLACK_BOT_TOKEN" if channel else "SLACK_WEBHOOK_URL"
        raise AuthenticationError(
            f"{named} is not set" + (": a webhook can't choose its channel" if channel and webhook else ""),
            remedy=f"set {named}, or: smos config set {'slack.token' if channel else 'slack.webhook'}",
        )
    if as_json:
        console.print_json({"text": message.text, "verdict": message.verdict.value, "sent": True})
    else:
        console.say(f"Slack was told: {message.text}")
