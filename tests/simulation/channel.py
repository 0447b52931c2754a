"""A channel of the simulated world: the same ports, books of its own, and no manners.

Answers get lost before or after the deed, come late, or can't be read; queries lag behind; refunds
are accepted and then fail; notices are lost, doubled, late and out of order. What it does against
its own promises (`rogue` trades, refunds that come back) it remembers, because our books must then
show an open break. Its notices carry a MAC: who does not know the key can't forge one.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.ports.callbacks import (
    CallbackRejected,
    CallbackReply,
    ChannelEvent,
    EventTopic,
    RawCallback,
)
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import PaymentRequest, RefundRequest
from tests.simulation.world import Violation, World

FAULTS = {
    "request lost": 0.02,
    "answer lost": 0.02,
    "answer unreadable": 0.005,
    "busy": 0.01,
    "slow to arrive": 0.01,
    "slow to answer": 0.01,
    "crash before the answer": 0.006,
}
PATIENCE, LAG = timedelta(hours=2), timedelta(minutes=2)
"""How long after its end an order may still be paid, and a query may not see what has happened."""


@dataclass
class Trade:
    """A payment as the channel has booked it."""

    order_no: str
    amount_fen: int
    payer_ref: str
    reference: str
    expires_at: datetime
    opened_at: datetime
    state: str = "open"
    paid_fen: int = 0
    paid_at: datetime | None = None
    refunds: list[Returned] = field(default_factory=list)
    rogue: bool = False
    """Paid although the channel had said that it was closed, or that there was no such order."""

    @property
    def ordered_at(self) -> datetime:
        """Half an hour before it expires: the request may have been under way for long."""
        return self.expires_at - timedelta(minutes=30)

    @property
    def is_odd(self) -> bool:
        """Another amount was taken than was ordered."""
        return self.state == "paid" and self.paid_fen != self.amount_fen

    @property
    def kept_fen(self) -> int:
        """What the channel still has of it, refunds under way counted as gone."""
        gone = (r.amount_fen for r in self.refunds if r.state in {"processing", "done"})
        return self.paid_fen - sum(gone)


@dataclass
class Returned:
    """A refund as the channel has booked it: processing, done, failed or back (undone)."""

    refund_no: str
    order_no: str
    amount_fen: int
    opened_at: datetime
    state: str = "processing"


@dataclass
class Notice:
    """A message to us that waits to be delivered. A sure one is repeated until it is taken."""

    topic: str
    number: str
    body: bytes
    due_at: datetime
    sure: bool
    misquote: tuple[str, int] | None = None
    tries: int = 0


@dataclass
class Channel:
    """Pays, closes, refunds, and tells us so."""

    name: str
    world: World
    trades: dict[str, Trade] = field(default_factory=dict)
    refunds: dict[str, Returned] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    """Orders, and refunds for want of funds, that were refused at least once."""
    disowned: set[str] = field(default_factory=set)
    overdrawn: list[tuple[str, str]] = field(default_factory=list)
    """Refunds that asked for more than was left of their order."""
    strays: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Money paid to us under numbers that were never ours: number and fen by reference."""
    misquotes: set[tuple[str, int]] = field(default_factory=set)
    """Orders and wrong amounts that genuine messages have told us of."""
    misquotes_taken: set[tuple[str, int]] = field(default_factory=set)
    """Those of them that we have acknowledged."""
    notices: list[Notice] = field(default_factory=list)
    down_until: datetime | None = None

    # -- the ports -----------------------------------------------------------------------------

    def prepare_payment(self, request: PaymentRequest) -> Outcome:
        def do() -> Outcome:
            number = request.order_no
            trade = self.trades.get(number)
            if trade is None:
                if self.world.draw({"the order is refused": 0.01}, at="") != "none":
                    self.refused.add(number)
                    return _outcome(OutcomeKind.FAILED, Reason.OUR_FAULT, number)
                trade = self.trades[number] = Trade(
                    number,
                    request.amount_fen,
                    request.payer_ref,
                    f"{self.name[0].upper()}{len(self.trades) + 1:09d}",
                    request.expires_at,
                    self.world.now,
                    rogue=number in self.disowned,
                )
            if (trade.amount_fen, trade.payer_ref) != (request.amount_fen, request.payer_ref):
                raise Violation(f"{number} was sent again with another content")
            if trade.state != "open":
                reason = Reason.ALREADY_PAID if trade.state == "paid" else Reason.CLOSED
                return _outcome(OutcomeKind.FAILED, reason, number)
            return _outcome(OutcomeKind.ACCEPTED, Reason.OK, number, reference=f"P-{number}")

        return self._answer(f"prepare {request.order_no}", request.order_no, do)

    def payer_action(self, prepay_reference: str) -> Mapping[str, str]:
        return {"prepay": prepay_reference}

    def query_payment(self, order_no: str) -> Outcome:
        return self._answer(f"query {order_no}", order_no, lambda: self._payment(order_no))

    def close_payment(self, order_no: str) -> Outcome:
        def do() -> Outcome:
            trade = self.trades.get(order_no)
            if trade is None:
                self.disowned.add(order_no)
                return _outcome(OutcomeKind.FAILED, Reason.NOT_FOUND, order_no)
            if trade.state == "paid":
                return _outcome(OutcomeKind.FAILED, Reason.ALREADY_PAID, order_no)
            trade.state = "closed"
            return _outcome(OutcomeKind.SUCCEEDED, Reason.CLOSED, order_no)

        return self._answer(f"close {order_no}", order_no, do)

    def refund(self, request: RefundRequest) -> Outcome:
        return self._answer(
            f"refund {request.refund_no}", request.refund_no, lambda: self._take_refund(request)
        )

    def query_refund(self, *, order_no: str, refund_no: str) -> Outcome:
        def do() -> Outcome:
            refund = self.refunds.get(refund_no)
            if refund is None or self._lags(refund.opened_at):
                return _outcome(OutcomeKind.FAILED, Reason.NOT_FOUND, refund_no)
            return _of_refund(refund)

        return self._answer(f"query refund {refund_no}", refund_no, do)

    def read_callback(self, raw: RawCallback) -> ChannelEvent:
        try:
            message = json.loads(raw.body)
            content, mac = message["content"], message["mac"]
        except (ValueError, KeyError, TypeError):
            raise CallbackRejected("malformed") from None
        if not hmac.compare_digest(mac, self._mac(content)):
            raise CallbackRejected("signature")
        if content["topic"] == "platform":
            return ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note="platform")
        at = content["at"]
        return ChannelEvent(
            topic=EventTopic(content["topic"]),
            outcome=_outcome(
                OutcomeKind(content["kind"]),
                Reason(content["reason"]),
                content["number"],
                amount_fen=content["amount_fen"],
                reference=content["reference"],
                occurred_at=datetime.fromisoformat(at) if at else None,
            ),
        )

    def reply(self, *, accepted: bool) -> CallbackReply:
        return CallbackReply(body="ok" if accepted else "again", content_type="text/plain")

    # -- what happens out there ----------------------------------------------------------------

    def pay(self, order_no: str, *, patience: timedelta = PATIENCE) -> None:
        """The payer confirms. Once in a while another amount is taken than was ordered."""
        trade = self.trades[order_no]
        if trade.state != "open" or self.world.now >= trade.expires_at + patience:
            return
        odd = self.world.draw({"another amount is taken": 0.002}, at="") != "none"
        self._book(trade, trade.amount_fen - 1 if odd else trade.amount_fen)
        if odd:
            self.misquotes.add((trade.order_no, trade.paid_fen))

    def pay_although_closed(self, trade: Trade) -> None:
        """Take money for an order of which it had said that nobody can pay it any more."""
        trade.rogue = True
        self._book(trade, trade.amount_fen)

    def break_a_promise(self) -> None:
        """Do something that no channel should; where our books can't follow, a break must tell."""
        random, trades = self.world.random, list(self.trades.values())
        closed, paid = ([t for t in trades if t.state == state] for state in ("closed", "paid"))
        expired = [t for t in trades if t.state == "open" and t.expires_at <= self.world.now]
        done = [refund for refund in self.refunds.values() if refund.state == "done"]
        may = {"pay": closed, "misquote": paid, "come back": done, "close": expired}
        match random.choice(
            ["stray", "stray", "platform", *(d for d, found in may.items() if found)]
        ):
            case "pay":
                self.pay_although_closed(random.choice(closed))
            case "stray":
                number, fen = self.world.new_number("X"), 77_700
                reference = f"S{number[:20]}"
                self.strays[reference] = (number, fen)
                stray = _outcome(
                    OutcomeKind.SUCCEEDED, Reason.OK, number, amount_fen=fen, reference=reference
                )
                self.notify("payment", stray, sure=True)
            case "misquote":
                trade = random.choice(paid)
                told = (trade.order_no, trade.paid_fen + 100)
                self.misquotes.add(told)
                wrong = replace(_of_trade(trade), amount_fen=told[1])
                self.notify("payment", wrong, misquote=told)
            case "come back":
                self.end_refund(random.choice(done), "back")
            case "close":
                random.choice(expired).state = "closed"
            case "platform":
                self.notify("platform", _outcome(OutcomeKind.ACCEPTED, Reason.OK, ""))

    def under_way(self) -> list[Returned]:
        return [refund for refund in self.refunds.values() if refund.state == "processing"]

    def end_refund(self, refund: Returned, state: str) -> None:
        """A refund under way is done or fails; one that is done may come back."""
        self.world.note(f"{self.name}: refund {refund.refund_no} is {state}")
        # Where we may be of another mind by now, only the notice (or a bill) can tell us.
        sure = refund.state == "done" or refund.refund_no in self.refused
        refund.state = state
        self.notify_of_refund(refund, sure=sure)

    def notify_of_refund(self, refund: Returned, *, sure: bool = False) -> None:
        outcome = _of_refund(refund)
        if self.name == "alipay" and not sure:
            # This channel only says that there is something to ask about.
            number = refund.refund_no
            outcome = _outcome(OutcomeKind.ACCEPTED, Reason.PROCESSING, number)
        self.notify("refund", outcome, sure=sure)

    def notify(
        self,
        topic: str,
        outcome: Outcome,
        *,
        sure: bool = False,
        misquote: tuple[str, int] | None = None,
    ) -> None:
        """Queue a notice, once or twice or never; chance decides when each is due."""
        at = outcome.occurred_at
        content = {
            "topic": topic,
            "number": outcome.number,
            "amount_fen": outcome.amount_fen,
            "reference": outcome.reference,
            "kind": outcome.kind,
            "reason": outcome.reason,
            "at": at.isoformat() if at else None,
        }
        body = json.dumps({"content": content, "mac": self._mac(content)}).encode()
        copies = self.world.random.choices([0, 1, 2, 3], [15, 60, 15, 10])[0]
        for _ in range(max(copies, int(sure))):
            delay = self.world.random.choice([0, 0, 1, 5, 60, 1_800, 86_400])
            due_at = self.world.now + timedelta(seconds=delay)
            self.notices.append(Notice(topic, outcome.number, body, due_at, sure, misquote))

    # -- inside --------------------------------------------------------------------------------

    def _book(self, trade: Trade, amount_fen: int) -> None:
        self.world.note(f"{self.name}: {trade.order_no} is paid with {amount_fen}")
        trade.state, trade.paid_fen, trade.paid_at = "paid", amount_fen, self.world.now
        self.notify("payment", _of_trade(trade), sure=trade.rogue)

    def _payment(self, order_no: str) -> Outcome:
        trade = self.trades.get(order_no)
        if trade is None or self._lags(trade.opened_at):
            return _outcome(OutcomeKind.FAILED, Reason.NOT_FOUND, order_no)
        if trade.state == "open" or (trade.paid_at and self._lags(trade.paid_at)):
            return _outcome(OutcomeKind.ACCEPTED, Reason.NOT_PAID, order_no)
        if trade.state == "closed":
            return _outcome(OutcomeKind.FAILED, Reason.CLOSED, order_no)
        return _of_trade(trade)

    def _take_refund(self, request: RefundRequest) -> Outcome:
        number, trade = request.refund_no, self.trades.get(request.order_no)
        known = self.refunds.get(number)
        if known is not None:
            if (known.order_no, known.amount_fen) != (request.order_no, request.amount_fen):
                raise Violation(f"{number} was sent again with another content")
            return _of_refund(known)
        if trade is None or trade.state != "paid":
            raise Violation(f"{number} asks for money of {request.order_no}, which is not paid")
        if trade.kept_fen < request.amount_fen:
            self.overdrawn.append((number, request.order_no))
            self.refused.add(number)
            return _outcome(OutcomeKind.FAILED, Reason.OUR_FAULT, number)
        if self.world.draw({"the merchant's funds are short": 0.05}, at="") != "none":
            self.refused.add(number)
            return _outcome(OutcomeKind.FAILED, Reason.MERCHANT_FUNDS_SHORT, number)
        refund = Returned(number, request.order_no, request.amount_fen, self.world.now)
        self.refunds[number] = refund
        trade.refunds.append(refund)
        return _outcome(OutcomeKind.ACCEPTED, Reason.PROCESSING, number)

    def _lags(self, since: datetime) -> bool:
        recent = timedelta(0) <= self.world.now - since < LAG
        return recent and self.world.draw({"the query lags": 0.3}, at="") != "none"

    def _answer(self, what: str, number: str, do: Callable[[], Outcome]) -> Outcome:
        self.world.turn(f"{self.name}: {what}")
        fault = self.world.draw(FAULTS, at=f"{self.name}: {what.removesuffix(number)}")
        if self.down_until is not None and self.world.now < self.down_until:
            fault = "request lost"
        if fault in {"request lost", "busy"}:
            reason = Reason.BUSY if fault == "busy" else Reason.NO_ANSWER
            return _outcome(OutcomeKind.UNKNOWN, reason, number)
        if fault == "slow to arrive":
            self.world.sleep(self.world.random.choice([3, 90, 2_400, 90_000]))
        outcome = do()
        if fault == "slow to answer":
            self.world.sleep(self.world.random.choice([3, 90, 2_400, 90_000]))
        if fault == "crash before the answer":
            raise self.world.crash()
        if fault in {"answer lost", "answer unreadable"}:
            reason = Reason.NO_ANSWER if fault == "answer lost" else Reason.BAD_ANSWER
            return _outcome(OutcomeKind.UNKNOWN, reason, number)
        return outcome

    def _mac(self, content: Any) -> str:
        text = json.dumps(content, sort_keys=True)
        return hmac.digest(f"key of {self.name}".encode(), text.encode(), "sha256").hex()


def _of_trade(trade: Trade) -> Outcome:
    return _outcome(
        OutcomeKind.SUCCEEDED,
        Reason.OK,
        trade.order_no,
        amount_fen=trade.paid_fen,
        reference=trade.reference,
        occurred_at=trade.paid_at,
    )


def _of_refund(refund: Returned) -> Outcome:
    if refund.state == "processing":
        return _outcome(OutcomeKind.ACCEPTED, Reason.PROCESSING, refund.refund_no)
    if refund.state in {"failed", "back"}:
        return _outcome(OutcomeKind.FAILED, Reason.PAYER_REFUSED, refund.refund_no)
    return _outcome(
        OutcomeKind.SUCCEEDED,
        Reason.OK,
        refund.refund_no,
        amount_fen=refund.amount_fen,
        reference=f"R-{refund.refund_no[:20]}",
    )


def _outcome(kind: OutcomeKind, reason: Reason, number: str, **told: Any) -> Outcome:
    return Outcome(kind=kind, reason=reason, number=number, raw_code=reason.upper(), **told)
