"""Messages that a channel sends to us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.domain.errors import FundError
from app.domain.ports.mandates import MandateAnswer
from app.domain.ports.outcomes import Outcome


class EventTopic(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"
    MANDATE = "mandate"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEvent:
    """A verified and normalized callback.

    `outcome.number` is our order_no for PAYMENT (a debit's result too) and our refund_no for
    REFUND. MANDATE has a `mandate` and no outcome. IGNORED stands for a genuine message that says
    nothing of money (a closing notice, a platform message); `note` says what it was.
    """

    topic: EventTopic
    outcome: Outcome | None
    mandate: MandateAnswer | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCallback:
    """A callback as it came over the wire.

    Attributes:
        endpoint: the last part of the URL that it came to.
        is_kept: it was verified when it came and has been kept sealed since, without its headers.
            What can only be checked at that moment (a signature in the headers, the hour, a number
            that is good once) is not checked again.
    """

    endpoint: str
    content_type: str
    headers: Mapping[str, str]
    body: bytes
    is_kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackReply:
    """What the channel must read to stop, or to repeat, its callback."""

    body: str
    content_type: str
    status: int = 200


class CallbackRejected(FundError):
    """The callback is not genuine or not ours: nothing may come of it.

    `reason` is a word for counters and logs: ``malformed``, ``signature``, ``merchant``, ``stale``,
    ``replayed``.
    """

    code = "callback_rejected"
    default_message = "通知未通过验证"

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)
        self.reason = reason


class Callbacks(Protocol):
    """Messages that the channel sends to us."""

    def read_callback(self, raw: RawCallback) -> ChannelEvent:
        """Verify and normalize.

        Raises:
            CallbackRejected: not well formed, not genuine, or meant for another merchant.
        """

    def reply(self, *, accepted: bool) -> CallbackReply:
        """The channel's own words for «recorded» or «send it again»."""
