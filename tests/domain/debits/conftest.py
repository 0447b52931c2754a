"""A person with an agreement and a mandate, and a wallet that debits, day by day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Row, select

from app.domain.agreements.rules import DebitChannel as ChannelName
from app.domain.agreements.rules import Terms
from app.domain.base import table_of
from app.domain.calendar import business_day
from app.domain.debit_runs.submitting import submit_debits
from app.domain.debits.making_up import MakeUpRequest, make_up
from app.domain.debits.models import DebitInstruction
from app.domain.debits.planning import plan_debits
from app.domain.debits.queries import DebitView, get_debit
from app.domain.deposits.queries import DepositView
from app.domain.inquiries.operations import resolve_orders
from app.domain.payment_orders.models import PaymentOrder
from app.domain.ports import Ports
from tests.builders import a_mandate, an_account
from tests.debit_channel import DebitChannel
from tests.domain.agreements.conftest import Desk, terms
from tests.fund import Fund, in_shanghai


@dataclass
class Debiting:
    """One person, the channel that debits them, and what the books say."""

    fund: Fund
    account_id: int
    desk: Desk
    wallet: DebitChannel

    @property
    def ports(self) -> Ports:
        return self.fund.ports

    def sign(self, wish: Terms | None = None, **kwargs: Any) -> None:
        """Sign an agreement: 500.00 on the 10th of each month unless said otherwise."""
        self.desk.sign(wish or terms(), **kwargs)

    def at(self, month: int, day: int, hour: int = 10, *, year: int = 2026) -> None:
        self.desk.at(in_shanghai(year, month, day, hour))

    def plan(self) -> int:
        return plan_debits(self.ports, on=business_day(self.ports.now()))["planned"]

    def submit(self) -> dict[str, int]:
        return submit_debits(self.ports)

    def live(self, month: int, day: int, *, year: int = 2026) -> dict[str, int]:
        """Plan and send on a day; return what became of what was sent."""
        self.at(month, day, year=year)
        self.plan()
        return self.submit()

    def resolve(self, **later: float) -> dict[str, int]:
        self.fund.clock.advance(**(later or {"minutes": 5}))
        return resolve_orders(self.ports)

    def notify(self, body: bytes) -> str:
        return self.fund.notify(body)

    def make_up(
        self,
        period: str,
        *,
        channel: str = "alipay",
        key: str = "make-up-1",
        despite_debit: bool = False,
    ) -> DepositView:
        return make_up(
            self.ports,
            request=MakeUpRequest(
                account_id=self.account_id,
                period=period,
                channel=channel,
                payer_ref="payer",
                client_ip="127.0.0.1",
                request_key=key,
                despite_debit=despite_debit,
            ),
        )

    def see(self, period: str = "2026-12") -> DebitView:
        return self.ports.read(
            lambda session: get_debit(session, account_id=self.account_id, period=period)
        )

    def row(self, period: str = "2026-12") -> Row[Any]:
        table = table_of(DebitInstruction)
        query = select(table).where(table.c.account_id == self.account_id, table.c.period == period)
        return self.ports.read(lambda session: session.execute(query).one())

    def state(self, period: str = "2026-12") -> tuple[str, date | None]:
        """Return the state and the day of the next attempt."""
        row = self.row(period)
        return row.state.value, row.next_attempt_on

    def attempts(self, period: str = "2026-12") -> list[str]:
        """Return the states of the debits that were tried, oldest first."""
        return [a.state.value for a in self.see(period).attempts if not a.by_hand]

    def last_order(self) -> str:
        table = table_of(PaymentOrder)
        last = select(table.c.order_no).order_by(table.c.id.desc()).limit(1)
        return self.ports.read(lambda session: session.scalars(last).one())

    @property
    def balance_fen(self) -> int:
        return self.fund.money(self.account_id)[0]


@pytest.fixture
def debiting(fund: Fund) -> Debiting:
    """A person without an agreement yet, and their mandate at WeChat."""
    return a_debiting(fund)


def a_debiting(fund: Fund) -> Debiting:
    account_id = an_account(fund.ports)
    a_mandate(fund.ports, account_id)
    wallet = DebitChannel(fund.clock.now)
    channels = fund.ports.channels
    fund.ports = replace(
        fund.ports,
        channels=replace(
            channels,
            debiting={ChannelName.WECHAT.value: wallet},
            calling_back={**channels.calling_back, "wechat": wallet},
        ),
    )
    return Debiting(fund, account_id, Desk(fund, account_id), wallet)


def on(month: int, day: int, *, year: int = 2026) -> date:
    return date(year, month, day)
