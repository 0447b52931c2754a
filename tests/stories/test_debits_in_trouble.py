"""A channel in trouble in the middle of many debits: afterwards the books are equal, once each."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import select

from app.domain.base import table_of
from app.domain.debit_runs.submitting import submit_debits
from app.domain.debits.models import DebitInstruction
from app.domain.inquiries.operations import resolve_orders
from app.domain.ledger.models import Code
from app.domain.payment_orders.models import OrderState, PaymentOrder
from app.domain.ports import Ports
from app.domain.ports.outcomes import Reason
from tests.conftest import MovableClock
from tests.debit_channel import DebitChannel
from tests.debits_due import debits_due
from tests.fund import Fund, in_shanghai

AMOUNT_FEN = 50_000
INSTRUCTION, ORDER = table_of(DebitInstruction), table_of(PaymentOrder)
NAMES = ("wechat", "alipay")


@pytest.fixture
def fund(ports: Ports, clock: MovableClock) -> Fund:
    clock.instant = in_shanghai(2026, 12, 10, 9)
    fund = Fund.around(ports, clock)
    wallets = {name: DebitChannel(clock.now) for name in NAMES}
    channels = replace(fund.ports.channels, debiting=wallets, calling_back=wallets)
    fund.ports = replace(fund.ports, channels=channels)
    return fund


def wallet(fund: Fund, name: str) -> DebitChannel:
    found = fund.ports.channels.debiting[name]
    assert isinstance(found, DebitChannel)
    return found


def ask_for_hours(fund: Fund, hours: int) -> Counter[str]:
    """Ask every ten minutes, as the scheduler does far more often; return what came of it."""
    effects: Counter[str] = Counter()
    for _ in range(6 * hours):
        fund.clock.advance(minutes=10)
        effects.update(resolve_orders(fund.ports))
    return effects


def check_books(fund: Fund, accounts: list[int], *, name: str = "wechat") -> None:
    """The channel has taken each debit once, and we have recorded exactly that."""
    taken = {
        (number, debit.reference, debit.request.amount_fen)
        for number, debit in wallet(fund, name).debits.items()
        if debit.state == "paid"
    }
    rows = fund.ports.read(
        lambda session: session.execute(select(ORDER).where(ORDER.c.channel == name)).all()
    )
    paid = [row for row in rows if row.state is OrderState.SUCCEEDED]
    assert {(row.order_no, row.channel_reference, row.amount_fen) for row in paid} == taken
    assert sorted(row.account_id for row in paid) == sorted(accounts)
    clearing_fen = sum(
        lines.get(Code.CHANNEL_CLEARING.value, 0)
        for key, lines in fund.entries()
        if key.removeprefix("deposit:") in {row.order_no for row in paid}
    )
    assert clearing_fen == wallet(fund, name).taken_fen() == len(accounts) * AMOUNT_FEN
    assert fund.breaks() == []
    assert fund.offences() == []


def states(fund: Fund) -> Counter[str]:
    rows = fund.ports.read(lambda session: session.scalars(select(INSTRUCTION.c.state)).all())
    return Counter(state.value for state in rows)


def test_a_gateway_that_times_out_after_taking_the_money(fund: Fund) -> None:
    """Of 500 a third is answered too late, a tenth never arrives; and it stays slow for a while."""
    accounts = debits_due(fund.ports, 500, newcomers=20)
    gateway = wallet(fund, "wechat")
    gateway.trouble["submit"] = (
        ["lost_after"] * 3 + [Reason.OK] * 5 + ["lost_before"] + [Reason.OK]
    ) * 50
    gateway.trouble["query"] = ["lost_before"] * 150
    assert submit_debits(fund.ports) == {"credited": 300, "open": 200}
    assert states(fund) == {"succeeded": 300, "attempting": 200}
    # While nobody knows, nothing is sent under another number, however often the job comes.
    assert submit_debits(fund.ports) == {}
    effects = ask_for_hours(fund, 2)
    assert effects["credited"] == 200
    assert effects["nothing"] == 150
    assert states(fund) == {"succeeded": 500}
    submits = Counter(call for call in gateway.calls if call.startswith("submit:"))
    assert len(submits) == 500
    assert Counter(submits.values()) == {1: 450, 2: 50}  # those that never arrived, once more
    check_books(fund, accounts)


def test_a_day_without_any_notice_of_one_channel(fund: Fund) -> None:
    """Both take the debits in and decide later; the one tells us, of the other all is lost."""
    told = debits_due(fund.ports, 30, channel="alipay")
    untold = debits_due(fund.ports, 60, newcomers=10)
    for name, count in (("alipay", 30), ("wechat", 60)):
        wallet(fund, name).trouble["submit"] = ["accepted"] * count
    assert submit_debits(fund.ports) == {"open": 90}
    assert ask_for_hours(fund, 1).keys() <= {"nothing"}
    notices = [wallet(fund, "alipay").finish(number) for number in wallet(fund, "alipay").debits]
    for number in wallet(fund, "wechat").debits:
        wallet(fund, "wechat").finish(number)
    assert {fund.notify(notice, channel="alipay") for notice in notices} == {"ok"}
    assert states(fund) == {"succeeded": 30, "attempting": 60}
    fund.clock.advance(days=1)
    assert submit_debits(fund.ports) == {}
    assert ask_for_hours(fund, 1)["credited"] == 60
    assert states(fund) == {"succeeded": 90}
    check_books(fund, told, name="alipay")
    check_books(fund, untold)
    # By the channel's clock it was paid on the day before we knew.
    rows = fund.ports.read(
        lambda session: session.execute(select(ORDER).where(ORDER.c.channel == "wechat")).all()
    )
    days = {(row.paid_at.date().isoformat(), row.credited_on.isoformat()) for row in rows}
    assert days == {("2026-12-10", "2026-12-11")}
