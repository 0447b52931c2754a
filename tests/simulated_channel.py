"""A channel in memory, for tests of the domain: same ports, own books, trouble on request.

It shares no code with the adapters; its callbacks are plain JSON, because signatures are the
adapters' business and are tested with the real protocols.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.domain.ports.callbacks import (
    CallbackRejected,
    CallbackReply,
    ChannelEvent,
    EventTopic,
    RawCallback,
)
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import PaymentRequest, RefundRequest


@dataclass
class Trade:
    """What the channel has booked of one order."""

    order_no: str
    amount_fen: int
    reference: str
    state: str = "open"
    refunded_fen: int = 0
    paid_at: datetime | None = None


@dataclass
class SimulatedChannel:
    """Pays, closes and refunds in memory. `trouble` maps a call to what goes wrong with it next:
    `lost_before` (never arrived), `lost_after` (done, answer lost), or an Outcome to answer."""

    now: Callable[[], datetime]
    trades: dict[str, Trade] = field(default_factory=dict)
    refunds: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    trouble: dict[str, list[str | Outcome]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refunds_stay_in_process: bool = False

    # -- what the outside does ---------------------------------------------------------------

    def pay(self, order_no: str) -> bytes:
        """The payer pays. Returns the callback that the channel would send."""
        trade = self.trades[order_no]
        assert trade.state == "open", trade.state
        trade.state, trade.paid_at = "paid", self.now()
        return self.callback(order_no)

    def callback(self, order_no: str, **changed: object) -> bytes:
        """The payment callback of a trade, with fields changed on request."""
        trade = self.trades[order_no]
        content = {
            "topic": "payment",
            "number": order_no,
            "amount_fen": trade.amount_fen,
            "reference": trade.reference,
            "at": (trade.paid_at or self.now()).isoformat(),
        }
        return json.dumps({**content, **changed}).encode()

    # -- the ports ---------------------------------------------------------------------------

    def prepare_payment(self, request: PaymentRequest) -> Outcome:
        def do() -> Outcome:
            trade = self.trades.setdefault(
                request.order_no,
                Trade(request.order_no, request.amount_fen, f"T{len(self.trades) + 1:08d}"),
            )
            assert trade.amount_fen == request.amount_fen
            return self._outcome(
                OutcomeKind.ACCEPTED, Reason.OK, request.order_no, reference=f"P-{trade.reference}"
            )

        return self._call("prepare_payment", request.order_no, do)

    def payer_action(self, prepay_reference: str) -> Mapping[str, str]:
        return {"prepay": prepay_reference}

    def query_payment(self, order_no: str) -> Outcome:
        return self._call("query_payment", order_no, lambda: self._payment(order_no))

    def close_payment(self, order_no: str) -> Outcome:
        def do() -> Outcome:
            trade = self.trades.get(order_no)
            if trade is None:
                return self._outcome(OutcomeKind.FAILED, Reason.NOT_FOUND, order_no)
            if trade.state == "paid":
                return self._outcome(OutcomeKind.FAILED, Reason.ALREADY_PAID, order_no)
            trade.state = "closed"
            return self._outcome(OutcomeKind.SUCCEEDED, Reason.CLOSED, order_no)

        return self._call("close_payment", order_no, do)

    def refund(self, request: RefundRequest) -> Outcome:
        def do() -> Outcome:
            if request.refund_no not in self.refunds:
                trade = self.trades[request.order_no]
                assert trade.state == "paid"
                assert trade.refunded_fen + request.amount_fen <= trade.amount_fen
                trade.refunded_fen += request.amount_fen
                state = "processing" if self.refunds_stay_in_process else "done"
                self.refunds[request.refund_no] = (request.order_no, request.amount_fen, state)
            return self._outcome(OutcomeKind.ACCEPTED, Reason.PROCESSING, request.refund_no)

        return self._call("refund", request.refund_no, do)

    def query_refund(self, *, order_no: str, refund_no: str) -> Outcome:
        def do() -> Outcome:
            if refund_no not in self.refunds:
                return self._outcome(OutcomeKind.FAILED, Reason.NOT_FOUND, refund_no)
            _, amount_fen, state = self.refunds[refund_no]
            if state == "processing":
                return self._outcome(OutcomeKind.ACCEPTED, Reason.PROCESSING, refund_no)
            return self._outcome(
                OutcomeKind.SUCCEEDED,
                Reason.OK,
                refund_no,
                amount_fen=amount_fen,
                reference=f"R-{refund_no}",
            )

        return self._call("query_refund", refund_no, do)

    def read_callback(self, raw: RawCallback) -> ChannelEvent:
        content = json.loads(raw.body)
        if content.get("forged"):
            raise CallbackRejected("signature")
        if content["topic"] == "platform":
            return ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note="platform")
        topic = EventTopic(content["topic"])
        return ChannelEvent(
            topic=topic,
            outcome=self._outcome(
                OutcomeKind(content.get("kind", "succeeded")),
                Reason.OK,
                content["number"],
                amount_fen=content["amount_fen"],
                reference=content["reference"],
                occurred_at=datetime.fromisoformat(content["at"]).astimezone(UTC),
            ),
        )

    def reply(self, *, accepted: bool) -> CallbackReply:
        return CallbackReply(body="ok" if accepted else "again", content_type="text/plain")

    # -- inside ------------------------------------------------------------------------------

    def _payment(self, order_no: str) -> Outcome:
        trade = self.trades.get(order_no)
        if trade is None:
            return self._outcome(OutcomeKind.FAILED, Reason.NOT_FOUND, order_no)
        if trade.state == "open":
            return self._outcome(OutcomeKind.ACCEPTED, Reason.NOT_PAID, order_no)
        if trade.state == "closed":
            return self._outcome(OutcomeKind.FAILED, Reason.CLOSED, order_no)
        return self._outcome(
            OutcomeKind.SUCCEEDED,
            Reason.OK,
            order_no,
            amount_fen=trade.amount_fen,
            reference=trade.reference,
            occurred_at=trade.paid_at,
        )

    def _call(self, name: str, number: str, do: Callable[[], Outcome]) -> Outcome:
        self.calls.append(f"{name}:{number}")
        waiting = self.trouble.get(name)
        trouble = waiting.pop(0) if waiting else None
        if isinstance(trouble, Outcome):
            return trouble
        if trouble == "lost_before":
            return self._outcome(OutcomeKind.UNKNOWN, Reason.NO_ANSWER, number)
        outcome = do()
        if trouble == "lost_after":
            return self._outcome(OutcomeKind.UNKNOWN, Reason.NO_ANSWER, number)
        return outcome

    @staticmethod
    def _outcome(
        kind: OutcomeKind,
        reason: Reason,
        number: str,
        *,
        amount_fen: int | None = None,
        reference: str | None = None,
        occurred_at: datetime | None = None,
    ) -> Outcome:
        return Outcome(
            kind=kind,
            reason=reason,
            number=number,
            amount_fen=amount_fen,
            reference=reference,
            occurred_at=occurred_at,
            raw_code=reason.value.upper(),
        )
