"""One call to a channel made into an answer of ours, whatever happens on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.reasons import ReasonTable
from app.payments.values import MESSAGE_LENGTH, Unreadable
from app.platforms.http import NoVerdict, Refused

_logger = logging.getLogger(__name__)

_CODE_LENGTH = 64

Answer = TypeVar("Answer")
Understood = TypeVar("Understood")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """What a call brought in place of a result: a refusal, or no verdict (UNKNOWN)."""

    kind: OutcomeKind
    reason: Reason
    code: str
    message: str


class Asker:
    """Asks one channel; a refusal means what the reason table says, all trouble is UNKNOWN."""

    def __init__(self, channel: str, reasons: ReasonTable) -> None:
        self._channel = channel
        self._reasons = reasons

    def __call__(
        self,
        call: str,
        number: str,
        send: Callable[[], Answer],
        understand: Callable[[Answer], Outcome],
    ) -> Outcome:
        """Send, and return what `understand` makes of the answer.

        Args:
            call: the name under which the reason table lists the codes.
            number: our order_no or refund_no that is asked about.
        """
        found = self.attempt(call, send, understand)
        if not isinstance(found, Shortfall):
            return found
        return Outcome(
            kind=found.kind,
            reason=found.reason,
            number=number,
            raw_code=found.code,
            raw_message=found.message,
        )

    def attempt(
        self,
        call: str,
        send: Callable[[], Answer],
        understand: Callable[[Answer], Understood],
    ) -> Understood | Shortfall:
        """Send, and return what `understand` makes of the answer, or what came in its place."""
        kind, message = OutcomeKind.UNKNOWN, ""
        try:
            return understand(send())
        except Refused as refusal:
            kind, reason = self._reasons.lookup(call, refusal.code)
            code, message = refusal.code, refusal.message
        except NoVerdict as trouble:
            reason, code, message = trouble.reason, trouble.code, trouble.message
        except Unreadable as error:
            reason, code = Reason.BAD_ANSWER, f"unexpected: {error}"
        code = code[:_CODE_LENGTH]
        if kind is OutcomeKind.UNKNOWN:
            _logger.warning("%s %s: no verdict: %s %s", self._channel, call, reason.value, code)
        return Shortfall(kind=kind, reason=reason, code=code, message=message[:MESSAGE_LENGTH])
