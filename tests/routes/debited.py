"""People whose card is debited: from the agreement to the day of the debit, at the doors."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.calendar import business_day
from app.domain.debit_runs.submitting import submit_debits
from app.domain.debits.planning import plan_debits
from app.domain.inquiries.operations import resolve_orders
from app.domain.ports.outcomes import Reason
from tests.conftest import MovableClock
from tests.debit_channel import DebitChannel
from tests.fund import in_shanghai
from tests.mandate_channel import CODE
from tests.routes.callers import API, Caller, Doors


@dataclass
class Debited:
    """December 2026 at a bank that debits 500.00 on the 10th, a Thursday."""

    doors: Doors
    clock: MovableClock
    bank: DebitChannel

    def agreed(self, person: str) -> Caller:
        """5 December: a person agrees and lets the bank debit a card."""
        self.at(5)
        caller = self.doors.enrolled(person)
        number = self.doors.with_mandate(caller)
        path = f"{API}/mandates/{number}/confirm"
        assert caller.call("POST", path, json={"code": CODE}).json["state"] == "active"
        return caller

    def announced(self, person: str) -> Caller:
        """9 December: their debit is announced."""
        caller = self.agreed(person)
        self.at(9)
        assert self.plan() == 1
        return caller

    def refused(self, person: str, reason: Reason = Reason.INSUFFICIENT_FUNDS) -> Caller:
        """10 December: the bank refuses it."""
        caller = self.announced(person)
        assert self.debit(reason) == {"debit_failed": 1}
        return caller

    def at(self, day: int, hour: int = 10) -> None:
        self.clock.instant = in_shanghai(2026, 12, day, hour)

    def plan(self) -> int:
        ports = self.doors.ports
        return plan_debits(ports, on=business_day(ports.now()))["planned"]

    def debit(self, *trouble: str | Reason, day: int = 10) -> dict[str, int]:
        """Send what is due on a day of December."""
        self.at(day)
        self.bank.trouble["submit"] = list(trouble)
        return submit_debits(self.doors.ports)

    def resolve(self) -> dict[str, int]:
        """Five minutes later, ask what became of it."""
        self.clock.advance(minutes=5)
        return resolve_orders(self.doors.ports)

    def pay(self, order_no: str) -> None:
        """Pay an order in the wallet."""
        body = self.doors.channel.pay(order_no)
        assert self.doors.client.post("/callbacks/wechat/payment", data=body).text == "ok"
