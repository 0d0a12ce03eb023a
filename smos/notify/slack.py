"""Sends a message to Slack: by an incoming webhook (one for each channel), or by a bot token and a channel.

An incoming webhook ignores a channel override, so a channel is named only together with a token. Retries: after 429
as long as Retry-After says, after 5xx and broken connections with growing pauses, all within one limit.
"""

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from smos.errors import AuthenticationError, SmosError, TargetError, UnreachableError
from smos.notify.message import Message

if TYPE_CHECKING:
    from slack_sdk.http_retry.handler import RetryHandler

REQUEST_S = 10
TOTAL_S = 60.0
TRIES = 5
API = "https://slack.com/api/"
_REFUSED = {
    "invalid_auth",
    "not_authed",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "no_permission",
    "missing_scope",
}


def send_by_webhook(message: Message, url: str, *, limit_s: float = TOTAL_S) -> None:
    """Post to an incoming webhook. limit_s: seconds for all tries together.

    Raises TargetError for an address that would send it in the clear, UnreachableError, AuthenticationError (the
    webhook was revoked) or SmosError; none of them holds the address, which is a secret.
    """
    webhook, _, _ = _sdk()
    client = webhook(_checked(url), timeout=REQUEST_S, retry_handlers=_handlers(limit_s))
    answer = _answered(lambda: client.send(text=message.text, blocks=list(message.blocks)))
    if answer.status_code == 200:
        return
    if answer.status_code in {401, 403, 404, 410}:
        raise AuthenticationError(
            f"Slack knows no such webhook (HTTP {answer.status_code})",
            remedy="make a new incoming webhook for the channel, then: smos config set slack.webhook",
        )
    _refused(answer.status_code, str(answer.body))


def send_by_token(
    message: Message, token: str, channel: str, *, limit_s: float = TOTAL_S, api: str = API
) -> None:
    """Post to a channel with a bot token (chat:write). api: of another base, for tests. Raises as `send_by_webhook`."""
    _, web, error_kind = _sdk()
    client = web(token=token, base_url=_checked(api), timeout=REQUEST_S, retry_handlers=_handlers(limit_s))
    try:
        _answered(
            lambda: client.chat_postMessage(channel=channel, text=message.text, blocks=list(message.blocks))
        )
    except error_kind as error:
        reason = error.response.get("error") if hasattr(error.response, "get") else None
        if reason in _REFUSED:
            raise AuthenticationError(
                f"Slack refuses the token: {reason}", remedy="give the bot chat:write, and a valid token"
            ) from None
        if reason in {"channel_not_found", "not_in_channel", "is_archived"}:
            raise TargetError(
                f"The bot can't write to {channel}: {reason}", remedy=f"/invite the bot to {channel}"
            ) from None
        _refused(error.response.status_code, str(reason))


def _refused(status: int, reason: str) -> NoReturn:
    if status == 429 or status >= 500:
        raise UnreachableError(
            f"Slack could not take the message (HTTP {status})", remedy="send it again later"
        )
    raise SmosError(f"Slack refused the message (HTTP {status}): {reason[:100]}", remedy="report this")


def _answered(send: Callable[[], Any]) -> Any:
    try:
        return send()
    except (OSError, TimeoutError) as error:  # urllib's errors are OSErrors; their text may hold the address
        raise UnreachableError(
            f"Slack does not answer ({type(error).__name__})", remedy="look at the network, and send it again"
        ) from None


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
    ):
        return url
    raise TargetError(
        "The webhook is no https address", remedy="copy it whole: https://hooks.slack.com/services/…"
    )


def _sdk() -> tuple[Any, Any, type[Any]]:
    try:
        from slack_sdk import WebClient, WebhookClient
        from slack_sdk.errors import SlackApiError
    except ImportError as error:
        raise SmosError(
            "slack-sdk is not installed", remedy="pip install 'smarteros-verify[notify]'"
        ) from error
    return WebhookClient, WebClient, SlackApiError


def _handlers(limit_s: float) -> "list[RetryHandler]":
    """Return one handler for all that passes: the SDK's own ones wait as long as a server says, without a limit."""
    from slack_sdk.http_retry.handler import RetryHandler

    ends = time.monotonic() + limit_s

    class Bounded(RetryHandler):
        def _can_retry(self, *, state: Any, response: Any = None, error: Any = None, **_: Any) -> bool:
            broken = error is not None and response is None
            busy = response is not None and (response.status_code == 429 or response.status_code >= 500)
            return (broken or busy) and time.monotonic() + _pause(state, response) < ends

        def prepare_for_next_attempt(self, *, state: Any, response: Any = None, **_: Any) -> None:
            state.next_attempt_requested = True
            # The SDK is synchronous and offers this place to wait; the pause is bounded by the limit.
            time.sleep(_pause(state, response) + random.uniform(0, 0.2))  # noqa: S311  (no secret)
            state.increment_current_attempt()

    return [Bounded(max_retry_count=TRIES - 1)]


def _pause(state: Any, response: Any) -> float:
    """Return how many seconds to wait before the next try."""
    if response is not None and response.status_code == 429:
        named = next(
            (value for name, value in response.headers.items() if name.lower() == "retry-after"), None
        )
        text = named[0] if isinstance(named, list) else named
        return _seconds(str(text)) if text else 1.0
    return float(0.5 * 2**state.current_attempt)


def _seconds(text: str) -> float:
    """Return what a Retry-After header says, in seconds (RFC 9110, 10.2.3: a number or a date)."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())  # a date is the wall clock's
    except ValueError:
        return 1.0
