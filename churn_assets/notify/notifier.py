"""Tell people something, once."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Literal

from churn_assets.notify import messages
from churn_assets.notify.channel import LIMIT_SECONDS, Channel, Sent, channels_of, send
from churn_assets.notify.memory import Memory, is_due

if TYPE_CHECKING:
    from churn_assets.notify.messages import Kind, Message
    from churn_assets.workspace import Workspace

Outcome = Literal["sent", "known", "failed", "busy", "nobody"]

NOT_CONFIGURED = (
    "nobody is told anything: `notify.urls` is empty. Put Apprise URLs there (mail, Slack, Teams, webhooks: "
    "https://appriseit.com), or set CHURN_NOTIFY__URLS='[\"mailtos://USER:PASSWORD@example.com\"]'; "
    "then `churn notify-test`"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """What became of a message.

    Attributes:
        outcome: `sent` through at least one channel; `known` from before; `failed` on every channel; `busy`: another
            process was telling for too long; `nobody` is configured.
        channels: What became of it on each channel; empty if it was not sent.
        remembered: Whether it was sent, and written down so that it is not sent again.
    """

    outcome: Outcome
    channels: tuple[Sent, ...] = ()
    remembered: bool = False

    @property
    def is_over(self) -> bool:
        """Whether there is no need to try again."""
        return self.outcome in {"sent", "known", "nobody"}


@dataclass(frozen=True)
class Notifier:
    """Tells people what happened, through every channel, each thing once.

    Attributes:
        channels: Where to.
        memory: What was told before.
        repeat_days: After so many days what still holds is told again.
        footer: Who speaks; stands below every message.
        limit_seconds: How long channels are waited for.
    """

    channels: tuple[Channel, ...]
    memory: Memory
    repeat_days: int
    footer: str = ""
    limit_seconds: float = LIMIT_SECONDS

    @classmethod
    def of(cls, workspace: Workspace) -> Notifier:
        """The notifier of a deployment."""
        notify, layout = workspace.settings.notify, workspace.layout
        return cls(channels_of(notify.urls), Memory(layout.told), notify.repeat_days, footer_of(workspace))

    def tell(self, message: Message, *, today: date) -> Told:
        """Tell people something, unless they know.

        Never raises because of a channel, and takes at most about `limit_seconds`, or as long again if another process
        is telling at the same time. What no channel took is not remembered: the next occasion tries again.

        Args:
            message: What.
            today: The day it is.
        """
        if not self.channels:
            _log.info("nobody to tell (`notify.urls` is empty): %s", message.title)
            return Told("nobody")
        if not self._is_due(message, today):
            return Told("known")
        with self.memory.held() as alone:
            if not alone:
                _log.warning("another process is telling for too long; not told: %s", message.title)
                return Told("busy")
            return self._tell(message, today) if self._is_due(message, today) else Told("known")

    def settle(self, kind: Kind, subject: str) -> None:
        """Something no longer holds: if it comes back, that is news."""
        if self.memory.last(kind, subject) is None:
            return
        with self.memory.held() as alone:
            if alone:
                self.memory.forget(kind, subject)

    def _is_due(self, message: Message, today: date) -> bool:
        return is_due(message, self.memory.last(message.kind, message.subject), today, self.repeat_days)

    def _tell(self, message: Message, today: date) -> Told:
        results = send(self.channels, message, self.footer, limit_seconds=self.limit_seconds)
        for result in results:
            if not result.worked:
                _log.warning("%s %s; not told there: %s", result.channel, result.problem, message.title)
        if not any(result.worked for result in results):
            return Told("failed", results)
        return Told("sent", results, remembered=self.memory.remember(message, today))


def notify_test(workspace: Workspace) -> list[Sent]:
    """Send a test message through each channel.

    Returns:
        What became of it, one a channel, in the order of `notify.urls`; empty if there is none.
    """
    channels = channels_of(workspace.settings.notify.urls)
    sent = send(channels, messages.test(), footer_of(workspace)) if channels else ()
    memory, today = Memory(workspace.layout.told), workspace.settings.today
    if any(one.worked for one in sent):
        with memory.held() as alone:
            for one in sent:
                if alone and one.worked:  # `churn doctor` asks when it was tried
                    memory.remember(replace(messages.test(), subject=one.channel), today)
    return list(sent)


def footer_of(workspace: Workspace) -> str:
    """Which deployment speaks: several may share a channel."""
    return f"churn on {socket.gethostname()}, {workspace.layout.artifacts.absolute()}"
