"""Messages to people (消息): what is told to a person, and what became of telling it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class MessageTopic(StrEnum):
    """What a message is about; which fields each one has stands in `outbox/rules.py`."""

    DEBIT_DUE = "debit_due"
    """Before a debit (扣款前通知)."""
    DEBIT_SUCCEEDED = "debit_succeeded"
    DEBIT_FAILED = "debit_failed"
    DEBIT_MISSED = "debit_missed"
    """Every try of a period has failed."""
    AGREEMENT_SUSPENDED = "agreement_suspended"
    """By the centre, after periods missed in a row."""
    MANDATE_ACTIVE = "mandate_active"
    MANDATE_ENDED = "mandate_ended"
    MANDATE_SUSPENDED = "mandate_suspended"
    """By the channel."""


class MessageResult(StrEnum):
    """What became of one try."""

    SENT = "sent"
    """The platform took it."""
    REFUSED = "refused"
    """For good: the same message to the same person will never be taken there."""
    TRY_AGAIN = "try_again"


class MessageReason(StrEnum):
    """Why, in our own words."""

    OK = "ok"
    PERSON_REFUSED = "person_refused"
    """The person has not agreed to messages of this kind, or no more of them."""
    PERSON_UNKNOWN = "person_unknown"
    """The platform does not know the person, or we know no platform of theirs."""
    NOT_OFFERED = "not_offered"
    """This installation has no template for the topic there."""
    OUR_FAULT = "our_fault"
    """Our template, content or authority; goes through once it is put right."""
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    BAD_ANSWER = "bad_answer"
    UNLISTED = "unlisted"
    RESTING = "resting"
    """Not even tried: others before it got no answer from the platform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageOutcome:
    """What became of one try to send a message.

    Attributes:
        raw_code: the platform's own code, for staff.
    """

    result: MessageResult
    reason: MessageReason
    raw_code: str = ""


class MessageSender(Protocol):
    """A platform that brings messages to a person's phone."""

    def send(
        self, *, recipient: str, topic: MessageTopic, fields: Mapping[str, str]
    ) -> MessageOutcome:
        """Send a message once. Trouble on the way is an outcome, never an exception.

        A try without an answer may have reached the person, who then gets the message twice.

        Args:
            recipient: the person's id at this platform (openid / open_id).
            fields: texts as the person reads them, by the names of the topic's fields.
        """
