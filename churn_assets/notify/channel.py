"""A way to reach people: an Apprise URL. Such URLs hold secrets, so none is ever shown, logged or part of an error."""

from __future__ import annotations

import functools
import logging
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from churn_assets.notify.messages import Message

LIMIT_SECONDS = 10.0
"""A channel that has not answered by then counts as failed."""

_HOST_IS_NO_SECRET = frozenset(
    {"form", "forms", "http", "https", "json", "jsons", "mailto", "mailtos", "xml", "xmls", "workflow", "workflows"}
)
"""Elsewhere a token may stand in the host's place, as in `slack://TOKEN/…` and `discord://ID/…`."""

_SCHEME = re.compile(r"\s*([a-z][a-z0-9+.-]{0,15})://", re.IGNORECASE)
_PLAIN_HOST = re.compile(r"localhost|[a-z0-9-]+(\.[a-z0-9-]+)+")
_STATUS = re.compile(r"\berror=(\d{3})\b")


@dataclass(frozen=True)
class Channel:
    """One way to reach people.

    Attributes:
        position: 1, 2, …: its place under `notify.urls`.
        url: The Apprise URL.
    """

    position: int
    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """How it may be called in front of anybody: position, scheme, and the host where that is no secret."""
        found = _SCHEME.match(self.url)
        if not found:
            return f"channel {self.position} (no scheme)"
        scheme = found[1].lower()
        host = _host(self.url.strip()) if scheme in _HOST_IS_NO_SECRET else ""
        return f"channel {self.position} ({scheme}{f' at {host}' if host else ''})"


@dataclass(frozen=True)
class Sent:
    """What became of a message on one channel.

    Attributes:
        channel: Its name, without secrets.
        problem: Why it did not arrive; empty if it did.
    """

    channel: str
    problem: str = ""

    @property
    def worked(self) -> bool:
        """Whether it arrived."""
        return not self.problem


def channels_of(urls: Sequence[str]) -> tuple[Channel, ...]:
    """The channels that `notify.urls` describes, in its order."""
    return tuple(Channel(position, url) for position, url in enumerate(urls, start=1))


def send(
    channels: Sequence[Channel], message: Message, footer: str = "", *, limit_seconds: float = LIMIT_SECONDS
) -> tuple[Sent, ...]:
    """Send a message through every channel, side by side.

    Args:
        channels: Where to.
        message: What.
        footer: Stands below the body.
        limit_seconds: How long to wait for all of them together.

    Returns:
        What became of it, one a channel, in their order. Nothing that a channel does raises.
    """
    import apprise  # noqa: F401 - its half second of loading is not the channels' time

    silence = _silence()
    attempts = [_Attempt(channel, message, footer, silence) for channel in channels]
    end = time.monotonic() + limit_seconds
    for attempt in attempts:
        attempt.start()
    for attempt in attempts:
        attempt.join(max(end - time.monotonic(), 0.0))
    late = f"no answer within {limit_seconds:g} s"
    return tuple(Sent(one.channel.name, late if one.is_alive() else one.problem) for one in attempts)


class _Attempt(threading.Thread):
    """One channel being told; left behind if it takes too long, and no process waits for it to end."""

    def __init__(self, channel: Channel, message: Message, footer: str, silence: _Silence) -> None:
        super().__init__(name=f"telling {channel.name}", daemon=True)
        self.channel = channel
        self.problem = "broke off"
        self._message = message
        self._footer = footer
        self._silence = silence

    def run(self) -> None:
        try:
            self.problem = self._send()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a channel does, a run must not fail because of it
            self.problem = f"failed with {type(error).__name__}"  # the error's text may hold the URL

    def _send(self) -> str:
        from apprise import Apprise, AppriseAsset

        # Without limits of its own Apprise sends in this thread, else in one that a process waits for when it ends.
        receiver = Apprise(asset=AppriseAsset(async_mode=False, service_timeout=0))
        if not receiver.add(self.channel.url) or not len(receiver):
            return "not a URL that Apprise understands (https://appriseit.com lists them)"
        body = f"{self._message.body}\n\n{self._footer}".rstrip()
        if receiver.notify(body, self._message.title, notify_type=self._message.tone, body_format="text"):
            return ""
        status = self._silence.status()
        return f"refused: it answered {status}" if status else "could not be reached, or refused without saying why"


class _Silence(logging.Filter):
    """Lets nothing through that could hold a URL, and keeps the HTTP status that this thread was answered with."""

    def __init__(self) -> None:
        super().__init__()
        self._here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "apprise":
            return record.levelno > logging.DEBUG
        found = _STATUS.search(record.getMessage())
        if found:
            self._here.status = found[1]
        return False

    def status(self) -> str:
        """The last HTTP status above 299, or empty."""
        return getattr(self._here, "status", "")


@functools.cache
def _silence() -> _Silence:
    """Put the filter on the two loggers that write down addresses, once a process."""
    silence = _Silence()
    for name in ("apprise", "urllib3.connectionpool"):
        logging.getLogger(name).addFilter(silence)
    return silence


def _host(url: str) -> str:
    """The host, if it is plainly one: of `user:pa@ss/word@host` the wrong piece would be part of a password."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return host if url.count("@") <= 1 and _PLAIN_HOST.fullmatch(host) else ""
