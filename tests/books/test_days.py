"""Days of the books: opened by their first posting, sealed when over, and summed up."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import select

from app.domain.calendar import business_day
from app.domain.inquiries.operations import resolve_orders, resolve_refunds
from app.domain.ledger.models import BusinessDay, DailySeal
from app.domain.ledger.queries import trial_balance
from app.domain.settlement.payments import apply_payment
from app.jobs import seal_days
from tests.builders import an_account
from tests.fund import Fund

Row = tuple[str, int, int, int, int]


def rows(fund: Fund, first: date, last: date) -> list[Row]:
    """Return code, opening, debit, credit and closing fen of the days."""
    found = fund.ports.read(lambda session: trial_balance(session, first=first, last=last))
    return [
        (row.code, row.opening_fen, row.debit_fen, row.credit_fen, row.closing_fen) for row in found
    ]


def three_days(fund: Fund) -> None:
    """24 November: deposits. 25: a refund and a late payment. 1 December: a deposit by Alipay."""
    first, second = an_account(fund.ports), an_account(fund.ports)
    order_no = fund.deposit(first, 50_000)
    late = fund.start(second, 33_300).order_no
    fund.clock.advance(days=1)
    resolve_orders(fund.ports)
    fund.wechat.trades[late].state = "open"
    fund.notify(fund.wechat.pay(late))
    fund.release(fund.ask_back(order_no, 20_000))
    fund.clock.advance(minutes=1)
    resolve_refunds(fund.ports)
    fund.clock.advance(days=6)
    fund.deposit(second, 12_150, channel="alipay")


EVERY_DAY: list[tuple[date, date, list[Row]]] = [
    (
        date(2026, 11, 24),
        date(2026, 11, 24),
        [
            ("11901", 0, 50_000, 0, 50_000),
            ("20102", 0, 0, 70_000, -70_000),
            ("41104", 0, 20_000, 0, 20_000),
        ],
    ),
    (
        date(2026, 11, 25),
        date(2026, 11, 25),
        [
            ("11901", 50_000, 33_300, 20_000, 63_300),
            ("20102", -70_000, 20_000, 0, -50_000),
            ("21901", 0, 0, 33_300, -33_300),
            ("41104", 20_000, 0, 0, 20_000),
        ],
    ),
    (
        date(2026, 11, 26),
        date(2026, 11, 30),
        [
            ("11901", 63_300, 0, 0, 63_300),
            ("20102", -50_000, 0, 0, -50_000),
            ("21901", -33_300, 0, 0, -33_300),
            ("41104", 20_000, 0, 0, 20_000),
        ],
    ),
    (
        date(2026, 11, 1),
        date(2026, 11, 30),
        [
            ("11901", 0, 83_300, 20_000, 63_300),
            ("20102", 0, 20_000, 70_000, -50_000),
            ("21901", 0, 0, 33_300, -33_300),
            ("41104", 0, 20_000, 0, 20_000),
        ],
    ),
    (
        date(2026, 12, 1),
        date(2026, 12, 31),
        [
            ("11901", 63_300, 12_150, 0, 75_450),
            ("20102", -50_000, 0, 32_150, -82_150),
            ("21901", -33_300, 0, 0, -33_300),
            ("41104", 20_000, 20_000, 0, 40_000),
        ],
    ),
]


@pytest.mark.parametrize("is_sealed", [False, True], ids=["open", "sealed"])
def test_the_trial_balance_is_the_same_before_and_after_sealing(
    fund: Fund, is_sealed: bool
) -> None:
    three_days(fund)
    fund.clock.advance(days=1)
    if is_sealed:
        assert seal_days.run(fund.ports, on=business_day(fund.clock.now())) == {"sealed": 3}
    for first, last, expected in EVERY_DAY:
        assert rows(fund, first, last) == expected
        assert sum(closing for *_, closing in expected) == 0
    assert fund.offences() == []


def test_days_without_a_posting_are_not_missing_in_the_chain(fund: Fund) -> None:
    three_days(fund)
    fund.clock.advance(days=1)
    seal_days.run(fund.ports, on=business_day(fund.clock.now()))
    seals = fund.ports.read(
        lambda session: session.execute(
            select(DailySeal.day, DailySeal.previous_day, DailySeal.entry_count).order_by(
                DailySeal.day
            )
        ).all()
    )
    assert [tuple(seal) for seal in seals] == [
        (date(2026, 11, 24), None, 2),
        (date(2026, 11, 25), date(2026, 11, 24), 2),
        (date(2026, 12, 1), date(2026, 11, 25), 2),
    ]


def test_a_day_whose_first_posting_was_rolled_back_can_still_be_opened(fund: Fund) -> None:
    """The connection that tried must not remember a day that the database has forgotten."""
    account_id = an_account(fund.ports)
    order_no = fund.start(account_id, 50_000).order_no
    notice = fund.wechat.pay(order_no)

    def post_twice_and_fail(session) -> None:  # type: ignore[no-untyped-def]
        outcome = fund.wechat.query_payment(order_no)
        # With the opening subsidy: the second posting finds the day that the first one opened.
        apply_payment(session, channel="wechat", outcome=outcome, now=fund.clock.now())
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fund.ports.transact(post_twice_and_fail)
    assert fund.count(BusinessDay) == 0
    assert fund.notify(notice) == "ok"
    assert fund.callback_results() == ["credited"]
    assert fund.money(account_id) == (70_000, 0)
