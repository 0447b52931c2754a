"""A channel in memory that debits under mandates, with books of its own.

Trouble is a queue a call (`submit`, `query`): «lost_before» never arrives, «lost_after» arrives and
its answer is lost, «accepted» leaves the result to come, a `Reason` refuses; an `Outcome` is given
as it is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.domain.ports.callbacks import CallbackReply, ChannelEvent, EventTopic, RawCallback
from app.domain.ports.debits import DebitRequest
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason


@dataclass
class Debit:
    """What the channel has booked under one number."""

    request: DebitRequest
    reference: str
    state: str
    reason: Reason = Reason.OK
    at: datetime | None = None


@dataclass
class DebitChannel:
    """Takes money once a number, whatever is sent how often."""

    now: Callable[[], datetime]
    debits: dict[str, Debit] = field(default_factory=dict)
    trouble: dict[str, list[str | Reason | Outcome]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def taken_fen(self) -> int:
        """All that was taken from people."""
        return sum(d.request.amount_fen for d in self.debits.values() if d.state == "paid")

    def finish(self, order_no: str, reason: Reason = Reason.OK) -> bytes:
        """A debit under way ends; returns the notice of it."""
        debit = self.debits[order_no]
        debit.state = "paid" if reason is Reason.OK else "refused"
        debit.reason, debit.at = reason, self.now()
        return self.notice(order_no)

    def notice(self, order_no: str, **changed: object) -> bytes:
        debit = self.debits[order_no]
        content = {
            "number": order_no,
            "kind": "succeeded" if debit.state == "paid" else "failed",
            "reason": debit.reason.value,
            "amount_fen": debit.request.amount_fen,
            "reference": debit.reference,
            "at": (debit.at or self.now()).isoformat(),
        }
        return json.dumps({**content, **changed}).encode()

    # -- the ports -----------------------------------------------------------------------------

    def submit_debit(self, request: DebitRequest) -> Outcome:
        with self.lock:
            self.calls.append(f"submit:{request.order_no}")
            trouble = self._next("submit")
            if isinstance(trouble, Outcome):
                return trouble
            if trouble == "lost_before":
                return _lost(request.order_no)
            earlier = self.debits.get(request.order_no)
            if earlier is None:
                state = {"accepted": "open"}.get(str(trouble), "paid")
                reason = trouble if isinstance(trouble, Reason) else Reason.OK
                self.debits[request.order_no] = Debit(
                    request,
                    f"X{len(self.debits) + 1:08d}",
                    "refused" if reason is not Reason.OK else state,
                    reason,
                    self.now(),
                )
            else:
                assert earlier.request == request, "one number, two contents"
            if trouble == "lost_after":
                return _lost(request.order_no)
            return self._tell(request.order_no)

    def query_debit(self, order_no: str) -> Outcome:
        with self.lock:
            self.calls.append(f"query:{order_no}")
            trouble = self._next("query")
            if isinstance(trouble, Outcome):
                return trouble
            return _lost(order_no) if trouble == "lost_before" else self._tell(order_no)

    def read_callback(self, raw: RawCallback) -> ChannelEvent:
        content = json.loads(raw.body)
        outcome = Outcome(
            kind=OutcomeKind(content["kind"]),
            reason=Reason(content["reason"]),
            number=content["number"],
            amount_fen=content["amount_fen"],
            reference=content["reference"],
            occurred_at=datetime.fromisoformat(content["at"]).astimezone(UTC),
        )
        return ChannelEvent(topic=EventTopic.PAYMENT, outcome=outcome)

    def reply(self, *, accepted: bool) -> CallbackReply:
        return CallbackReply(body="ok" if accepted else "again", content_type="text/plain")

    # -- inside --------------------------------------------------------------------------------

    def _next(self, call: str) -> str | Reason | Outcome | None:
        waiting = self.trouble.get(call)
        return waiting.pop(0) if waiting else None

    def _tell(self, order_no: str) -> Outcome:
        debit = self.debits.get(order_no)
        if debit is None:
            return Outcome(kind=OutcomeKind.FAILED, reason=Reason.NOT_FOUND, number=order_no)
        kind = {
            "paid": OutcomeKind.SUCCEEDED,
            "refused": OutcomeKind.FAILED,
            "open": OutcomeKind.ACCEPTED,
        }[debit.state]
        return Outcome(
            kind=kind,
            reason=Reason.PROCESSING if debit.state == "open" else debit.reason,
            number=order_no,
            amount_fen=debit.request.amount_fen,
            reference=debit.reference,
            occurred_at=debit.at if debit.state == "paid" else None,
            raw_code=debit.reason.value.upper(),
        )


def _lost(order_no: str) -> Outcome:
    return Outcome(kind=OutcomeKind.UNKNOWN, reason=Reason.NO_ANSWER, number=order_no)
