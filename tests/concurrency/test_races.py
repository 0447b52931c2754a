"""Two transactions that meet at one row, step by step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from app.domain.contributors.models import Account
from app.domain.ledger.operations import seal_days
from app.domain.payment_orders.models import OrderState
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.settlement import Effect
from app.domain.settlement.payments import apply_close, apply_payment
from app.domain.settlement.refunds import apply_refund
from tests.builders import an_account
from tests.fund import Fund


def paid(order_no: str, amount_fen: int = 50_000) -> Outcome:
    return Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number=order_no,
        amount_fen=amount_fen,
        reference="T00000001",
    )


def meet(
    fund: Fund, first: Callable[[Session], Any], second: Callable[[Session], Any]
) -> tuple[Any, Any]:
    """Run `first`, and before it commits begin `second`, until that waits for a lock.

    Returns: what both returned.
    """
    written, go_on = threading.Event(), threading.Event()
    results: dict[str, Any] = {}

    def hold(session: Session) -> Any:
        result = first(session)
        written.set()
        assert go_on.wait(30)
        return result

    def run(name: str, work: Callable[[Session], Any]) -> None:
        results[name] = fund.ports.transact(work)

    holder = threading.Thread(target=run, args=("first", hold))
    waiter = threading.Thread(target=run, args=("second", second))
    holder.start()
    assert written.wait(30)
    waiter.start()
    try:
        _until_somebody_waits_for_a_lock(fund)
    finally:
        go_on.set()
        for thread in (holder, waiter):
            thread.join(30)
    return results["first"], results["second"]


def _until_somebody_waits_for_a_lock(fund: Fund) -> None:
    database = fund.ports.read(lambda session: session.scalar(text("SELECT DATABASE()")))
    waiting = text(
        "SELECT COUNT(*) FROM information_schema.innodb_trx t"
        " JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id"
        " WHERE t.trx_state = 'LOCK WAIT' AND p.db = :database"
    )
    for _ in range(100):
        if fund.ports.read(lambda session: session.scalar(waiting, {"database": database})):
            return
        # The server renews this view only when nobody has looked for a tenth of a second.
        threading.Event().wait(0.15)
    pytest.fail("the second transaction never had to wait")


def test_a_payment_that_meets_a_close_goes_to_suspense_and_is_not_dropped(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.start(account_id, 50_000).order_no
    closed = Outcome(kind=OutcomeKind.SUCCEEDED, reason=Reason.CLOSED, number=order_no)
    now = fund.clock.now()
    assert meet(
        fund,
        lambda session: apply_close(session, channel="wechat", outcome=closed, now=now),
        lambda session: apply_payment(session, channel="wechat", outcome=paid(order_no), now=now),
    ) == (Effect.CLOSED, Effect.SUSPENSE)
    assert fund.order(order_no).state is OrderState.IN_SUSPENSE
    assert fund.breaks() == [("late_payment", order_no, 50_000, 50_000)]
    assert fund.money(account_id) == (0, 0)
    assert fund.offences() == []


def test_a_close_that_meets_a_payment_leaves_it_credited(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.start(account_id, 50_000).order_no
    closed = Outcome(kind=OutcomeKind.SUCCEEDED, reason=Reason.CLOSED, number=order_no)
    now = fund.clock.now()
    assert meet(
        fund,
        lambda session: apply_payment(session, channel="wechat", outcome=paid(order_no), now=now),
        lambda session: apply_close(session, channel="wechat", outcome=closed, now=now),
    ) == (Effect.CREDITED, Effect.NOTHING)
    assert fund.order(order_no).state is OrderState.SUCCEEDED
    assert fund.money(account_id) == (70_000, 0)


def test_two_first_deposits_at_once_bring_one_subsidy(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    orders = [fund.start(account_id, 50_000).order_no for _ in range(2)]
    now = fund.clock.now()

    def credit(order_no: str) -> Callable[[Session], Effect]:
        return lambda session: apply_payment(
            session, channel="wechat", outcome=paid(order_no), now=now
        )

    assert meet(fund, credit(orders[0]), credit(orders[1])) == (Effect.CREDITED, Effect.CREDITED)
    assert fund.grants() == [(20_000, 20_000, False)]
    assert fund.money(account_id) == (120_000, 0)
    assert fund.offences() == []


def test_a_deposit_that_meets_the_refund_of_the_only_other_one_keeps_the_subsidy(
    fund: Fund,
) -> None:
    """The refund takes the subsidy back; the deposit that waited for it earns it anew."""
    account_id = an_account(fund.ports)
    refund_no = fund.ask_back(fund.deposit(account_id, 50_000), 50_000)
    fund.release(refund_no)
    order_no = fund.start(account_id, 30_000).order_no
    now = fund.clock.now()
    done = Outcome(
        kind=OutcomeKind.SUCCEEDED, reason=Reason.OK, number=refund_no, amount_fen=50_000
    )
    assert meet(
        fund,
        lambda session: apply_refund(session, channel="wechat", outcome=done, now=now),
        lambda session: apply_payment(
            session, channel="wechat", outcome=paid(order_no, 30_000), now=now
        ),
    ) == (Effect.REFUNDED, Effect.CREDITED)
    assert fund.money(account_id) == (50_000, 0)  # 300.00 and the subsidy of 200.00
    assert [is_reversed for *_, is_reversed in fund.grants()] == [True, False]
    assert fund.offences() == []


def test_a_refund_done_twice_at_once_is_posted_once(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    refund_no = fund.ask_back(fund.deposit(account_id, 50_000), 20_000)
    fund.release(refund_no)
    now = fund.clock.now()
    done = Outcome(
        kind=OutcomeKind.SUCCEEDED, reason=Reason.OK, number=refund_no, amount_fen=20_000
    )

    def settle(session: Session) -> Effect:
        return apply_refund(session, channel="wechat", outcome=done, now=now)

    assert meet(fund, settle, settle) == (Effect.REFUNDED, Effect.DUPLICATE)
    assert fund.money(account_id) == (50_000, 0)
    assert fund.breaks() == []
    assert fund.offences() == []


def test_sealing_waits_for_a_posting_under_way_and_counts_it(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.deposit(account_id, 50_000)
    order_no = fund.start(account_id, 30_000).order_no
    posting, go_on = threading.Event(), threading.Event()

    def post_slowly(session: Session) -> Effect:
        effect = apply_payment(
            session,
            channel="wechat",
            outcome=paid(order_no, 30_000),
            now=fund.clock.now().replace(day=24),
        )
        posting.set()
        assert go_on.wait(30)
        return effect

    sealed: list[list[date]] = []
    poster = threading.Thread(target=fund.ports.transact, args=(post_slowly,))
    poster.start()
    assert posting.wait(30)
    fund.clock.advance(days=1)
    sealer = threading.Thread(
        target=lambda: sealed.append(seal_days(fund.ports, through=date(2026, 11, 24)))
    )
    sealer.start()
    _until_somebody_waits_for_a_lock(fund)
    go_on.set()
    poster.join(30)
    sealer.join(30)
    assert sealed == [[date(2026, 11, 24)]]
    assert fund.money(account_id) == (100_000, 0)
    assert fund.offences() == []  # the seal holds both deposits


def test_an_account_is_read_as_it_is_when_its_lock_is_had(fund: Fund) -> None:
    """A deposit that waited for the closing of its account sees the account closed."""
    account_id = an_account(fund.ports)
    order_no = fund.start(account_id, 50_000).order_no
    now = fund.clock.now()
    _, effect = meet(
        fund,
        lambda session: session.execute(
            update(Account).where(Account.id == account_id).values(status="closed")
        ),
        lambda session: apply_payment(session, channel="wechat", outcome=paid(order_no), now=now),
    )
    assert effect is Effect.SUSPENSE
    assert fund.ports.read(lambda s: s.scalar(select(Account.balance_fen))) == 0
