"""A channel with books of its own that takes debits, payments and refunds, and misbehaves."""

from __future__ import annotations

import heapq
import json
import random
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app.domain.ports.callbacks import ChannelEvent, EventTopic, RawCallback
from app.domain.ports.debits import DebitRequest
from app.domain.ports.mandates import EndedBy, MandateAnswer, MandateStanding
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from tests.simulated_channel import SimulatedChannel, Trade

REFUSALS = (
    *(Reason.INSUFFICIENT_FUNDS, Reason.INSUFFICIENT_FUNDS, Reason.AMOUNT_LIMIT),
    *(Reason.PERIOD_LIMIT, Reason.ISSUER_REFUSED, Reason.ACCOUNT_FROZEN, Reason.ACCOUNT_INVALID),
    *(Reason.NO_MANDATE, Reason.IDENTITY_MISMATCH, Reason.NOT_SUPPORTED, Reason.PAYER_REFUSED),
    *(Reason.NOT_RECEIVED, Reason.OUR_FAULT, Reason.BUSY, Reason.UNLISTED),
)

FATES = {
    "paid": 62,
    "refused": 13,
    "paid later": 8,
    "refused later": 3,
    "lost on the way there": 4,
    "lost on the way back": 5,
    "refused, and taken after all": 3,
    "busy once": 2,
}
"""How often, of a hundred."""


@dataclass
class Debit:
    """What the channel has booked under one number; `ends_at` while it is under way."""

    request: DebitRequest
    state: str
    reason: Reason = Reason.OK
    at: datetime | None = None
    ends_at: datetime | None = None
    was_refused: bool = False
    """It was told as refused before it was paid."""


@dataclass
class YearChannel(SimulatedChannel):
    """Payments and refunds as in the simulated channel, and debits with fates drawn by number."""

    name: str = ""
    seed: int = 0
    behaves: bool = False
    """Nothing goes wrong any more."""
    debits: dict[str, Debit] = field(default_factory=dict)
    ended_mandates: set[str] = field(default_factory=set)
    faults: dict[str, int] = field(default_factory=dict)
    outbox: list[tuple[datetime, str, bytes]] = field(default_factory=list)
    _asked: dict[str, int] = field(default_factory=dict)
    _sent: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # -- the outside ---------------------------------------------------------------------------

    def live_on(self) -> None:
        """Let end what is under way and has come to its end."""
        for order_no, debit in list(self.debits.items()):
            if debit.ends_at is not None and debit.ends_at <= self.now():
                late_truth, debit.ends_at = debit.state == "refused", None
                if debit.state == "open" and debit.reason is not Reason.OK:
                    debit.state = "refused"
                    self._announce(order_no)
                    continue
                debit.was_refused = late_truth
                self._take(order_no)
                # Of money that it had refused before, a channel speaks until it is heard.
                self._announce(order_no, certain=late_truth)

    def due_notices(self) -> list[bytes]:
        """Return what is to be delivered by now, in an order of the channel's own."""
        found = []
        while self.outbox and self.outbox[0][0] <= self.now():
            found.append(heapq.heappop(self.outbox)[2])
        return found

    def paid(self) -> dict[str, Debit]:
        return {number: debit for number, debit in self.debits.items() if debit.state == "paid"}

    # -- the ports -----------------------------------------------------------------------------

    def submit_debit(self, request: DebitRequest) -> Outcome:
        with self._lock:
            number = request.order_no
            earlier = self.debits.get(number)
            if earlier is not None:
                assert earlier.request == request, "one number, two contents"
                return self._tell_debit(number)
            sent = self._sent[number] = self._sent.get(number, 0) + 1
            fate = self._draw(f"{number}:{sent}")
            self.faults[fate] = self.faults.get(fate, 0) + 1
            if fate == "lost on the way there":
                return _lost(number)
            self._book(request, fate)
            return _lost(number) if fate == "lost on the way back" else self._tell_debit(number)

    def query_debit(self, order_no: str) -> Outcome:
        with self._lock:
            asked = self._asked[order_no] = self._asked.get(order_no, 0) + 1
            if not self.behaves and self._random(f"{order_no}:query:{asked}").random() < 0.1:
                return _lost(order_no)
            return self._tell_debit(order_no)

    def query_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        over = reference in self.ended_mandates
        return MandateAnswer(
            standing=MandateStanding.ENDED if over else MandateStanding.ACTIVE,
            reason=Reason.OK,
            mandate_no=mandate_no,
            reference=reference,
            ended_by=EndedBy.CONTRIBUTOR if over else None,
        )

    def read_callback(self, raw: RawCallback) -> ChannelEvent:
        content = json.loads(raw.body)
        if "reason" not in content:
            return super().read_callback(raw)
        outcome = Outcome(
            kind=OutcomeKind(content["kind"]),
            reason=Reason(content["reason"]),
            number=content["number"],
            amount_fen=content["amount_fen"],
            reference=content["reference"],
            occurred_at=datetime.fromisoformat(content["at"]).astimezone(UTC),
        )
        return ChannelEvent(topic=EventTopic.PAYMENT, outcome=outcome)

    # -- inside --------------------------------------------------------------------------------

    def _random(self, what: str) -> random.Random:
        return random.Random(f"{self.seed}:{self.name}:{what}")

    def _draw(self, what: str) -> str:
        if self.behaves:
            return "paid"
        return self._random(what).choices(list(FATES), list(FATES.values()))[0]

    def _book(self, request: DebitRequest, fate: str) -> None:
        number, chance = request.order_no, self._random(f"{request.order_no}:book")
        debit = self.debits[number] = Debit(request, "open")
        if request.mandate_reference in self.ended_mandates:
            debit.state, debit.reason = "refused", Reason.NO_MANDATE
        elif fate in {"refused", "busy once"}:
            debit.state = "refused"
            debit.reason = Reason.BUSY if fate == "busy once" else chance.choice(REFUSALS)
        elif fate in {"paid later", "refused later"}:
            debit.ends_at = self.now() + timedelta(minutes=chance.choice([1, 30, 600, 1_500]))
            if fate == "refused later":
                debit.reason = chance.choice(REFUSALS)
        elif fate == "refused, and taken after all":
            debit.state, debit.reason = "refused", chance.choice(REFUSALS)
            debit.ends_at = self.now() + timedelta(hours=chance.choice([1, 20, 50, 100]))
        else:
            self._take(number)
            self._announce(number)

    def _take(self, number: str) -> None:
        debit = self.debits[number]
        debit.state, debit.reason, debit.at = "paid", Reason.OK, self.now()
        self.trades[number] = Trade(
            number, debit.request.amount_fen, f"X{number}", state="paid", paid_at=self.now()
        )

    def _announce(self, number: str, *, certain: bool = False) -> None:
        """Put its notice into the outbox: late, twice, or not at all."""
        debit, chance = self.debits[number], self._random(f"{number}:notice")
        content = {
            "number": number,
            "kind": "succeeded" if debit.state == "paid" else "failed",
            "reason": debit.reason.value,
            "amount_fen": debit.request.amount_fen,
            "reference": f"X{number}",
            "at": (debit.at or self.now()).isoformat(),
        }
        copies = 1 if self.behaves else chance.choices([0, 1, 2, 3], [15, 65, 15, 5])[0]
        for copy in range(max(copies, certain)):
            at = self.now() + timedelta(minutes=chance.choice([0, 0, 1, 20, 400, 2_000]))
            # By the number: threads that send have no order.
            item = (at, f"{number}:{copy}", json.dumps(content).encode())
            heapq.heappush(self.outbox, item)

    def _tell_debit(self, number: str) -> Outcome:
        debit = self.debits.get(number)
        if debit is None:
            return Outcome(kind=OutcomeKind.FAILED, reason=Reason.NOT_FOUND, number=number)
        kind = {
            "paid": OutcomeKind.SUCCEEDED,
            "refused": OutcomeKind.FAILED,
            "open": OutcomeKind.ACCEPTED,
        }[debit.state]
        return Outcome(
            kind=kind,
            reason=Reason.PROCESSING if debit.state == "open" else debit.reason,
            number=number,
            amount_fen=debit.request.amount_fen,
            reference=f"X{number}",
            occurred_at=debit.at,
            raw_code=debit.reason.value.upper(),
        )


def _lost(number: str) -> Outcome:
    return Outcome(kind=OutcomeKind.UNKNOWN, reason=Reason.NO_ANSWER, number=number)
