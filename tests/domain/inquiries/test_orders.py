"""Asking about orders: lost callbacks, expiry, closing, and orders that nobody decides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from app.domain.base import table_of
from app.domain.inquiries.operations import resolve_orders
from app.domain.payment_orders.models import OrderState, PaymentOrder
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from tests.builders import an_account
from tests.fund import Fund

ORDER = table_of(PaymentOrder)


@pytest.fixture
def account_id(fund: Fund) -> int:
    return an_account(fund.ports)


def asked(fund: Fund, call: str = "query_payment") -> int:
    return sum(line.startswith(f"{call}:") for line in fund.wechat.calls)


def unknown(reason: Reason = Reason.NO_ANSWER) -> Outcome:
    return Outcome(kind=OutcomeKind.UNKNOWN, reason=reason, number="")


def test_nobody_asks_before_the_first_twenty_seconds_are_over(fund: Fund, account_id: int) -> None:
    fund.start(account_id, 50_000)
    fund.clock.advance(seconds=19)
    assert resolve_orders(fund.ports) == {}
    fund.clock.advance(seconds=1)
    assert resolve_orders(fund.ports) == {"nothing": 1}
    assert asked(fund) == 1


def test_a_lost_callback_is_made_good_by_asking(fund: Fund, account_id: int) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    fund.wechat.pay(order_no)  # its callback never comes
    fund.clock.advance(seconds=20)
    assert resolve_orders(fund.ports) == {"credited": 1}
    assert fund.money(account_id) == (70_000, 0)
    assert fund.order(order_no).channel_reference == "T00000001"
    assert fund.offences() == []

    # The callback was only late: nothing more happens.
    assert fund.notify(fund.wechat.callback(order_no)) == "ok"
    assert fund.callback_results() == ["duplicate"]
    assert fund.money(account_id) == (70_000, 0)
    fund.clock.advance(days=1)
    assert resolve_orders(fund.ports) == {}


def test_the_waits_grow_and_the_expiry_is_kept(fund: Fund, account_id: int) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    begun = fund.clock.now()
    seconds = []
    while fund.order(order_no).next_query_at is not None:
        due = fund.order(order_no).next_query_at
        fund.clock.instant = due
        seconds.append(int((due - begun).total_seconds()))
        resolve_orders(fund.ports)
    # 20, + 40, + 60, + 120, + 300, + 600, and then its half hour is over
    assert seconds == [20, 60, 120, 240, 540, 1_140, 1_800]
    assert fund.order(order_no).state is OrderState.CLOSED


def test_an_order_that_expired_unpaid_is_closed_at_the_channel_first(
    fund: Fund, account_id: int
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    fund.clock.advance(minutes=30)
    assert resolve_orders(fund.ports) == {"closed": 1}
    order = fund.order(order_no)
    assert (order.state, order.next_query_at) == (OrderState.CLOSED, None)
    assert order.ended_at == fund.clock.now()
    assert fund.wechat.trades[order_no].state == "closed"
    assert fund.entries() == []


def test_an_order_is_not_closed_while_it_can_be_paid(fund: Fund, account_id: int) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    fund.clock.advance(minutes=29, seconds=59)
    resolve_orders(fund.ports)
    assert fund.order(order_no).state is OrderState.AWAITING_PAYMENT
    assert asked(fund, "close_payment") == 0


def test_an_order_that_never_reached_the_channel_is_closed_when_it_expires(
    fund: Fund, account_id: int
) -> None:
    fund.wechat.trouble["prepare_payment"] = ["lost_before"]
    order_no = fund.start(account_id, 50_000).order_no
    fund.clock.advance(seconds=20)
    assert resolve_orders(fund.ports) == {"nothing": 1}
    assert fund.order(order_no).state is OrderState.UNKNOWN
    fund.clock.advance(minutes=30)
    assert resolve_orders(fund.ports) == {"closed": 1}


@pytest.mark.parametrize("reason", [Reason.NO_ANSWER, Reason.NOT_PAID, Reason.NOT_FOUND])
def test_no_order_is_closed_on_an_unknown_answer(
    fund: Fund, account_id: int, reason: Reason
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    fund.clock.advance(minutes=31)
    fund.wechat.trouble["query_payment"] = [unknown(reason)]
    assert resolve_orders(fund.ports) == {"nothing": 1}
    assert fund.order(order_no).state is OrderState.AWAITING_PAYMENT
    assert asked(fund, "close_payment") == 0


def test_a_payment_still_in_process_is_not_closed(fund: Fund, account_id: int) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    fund.clock.advance(minutes=31)
    working = Outcome(kind=OutcomeKind.ACCEPTED, reason=Reason.PROCESSING, number=order_no)
    fund.wechat.trouble["query_payment"] = [working]
    assert resolve_orders(fund.ports) == {"nothing": 1}
    assert fund.order(order_no).state is OrderState.AWAITING_PAYMENT


@pytest.mark.parametrize("lost", ["lost_before", "lost_after"])
def test_a_lost_answer_to_closing_is_asked_for_again(
    fund: Fund, account_id: int, lost: str
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    fund.clock.advance(minutes=30)
    fund.wechat.trouble["close_payment"] = [lost]
    assert resolve_orders(fund.ports) == {"nothing": 1}
    assert fund.order(order_no).state is OrderState.CLOSING
    fund.clock.instant = fund.order(order_no).next_query_at
    assert resolve_orders(fund.ports) == {"closed": 1}
    assert fund.order(order_no).state is OrderState.CLOSED


def test_an_order_closed_at_the_channel_by_itself_is_closed_here(
    fund: Fund, account_id: int
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    fund.wechat.trades[order_no].state = "closed"
    fund.clock.advance(seconds=20)
    assert resolve_orders(fund.ports) == {"closed": 1}
    assert asked(fund, "close_payment") == 0


def test_two_schedulers_ask_once(fund: Fund, account_id: int) -> None:
    fund.start(account_id, 50_000)
    fund.clock.advance(seconds=20)
    query = fund.wechat.query_payment
    inner: list[dict[str, int]] = []

    def ask_while_another_runs(order_no: str) -> Outcome:
        if not inner:
            inner.append({"the": 0})
            inner[0] = resolve_orders(fund.ports)
        return query(order_no)

    fund.wechat.query_payment = ask_while_another_runs  # type: ignore[method-assign]
    assert resolve_orders(fund.ports) == {"nothing": 1}
    assert inner == [{}]
    assert asked(fund) == 1


def test_trouble_with_one_order_does_not_keep_the_others_waiting(
    fund: Fund, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = an_account(fund.ports), an_account(fund.ports)
    bad, good = fund.start(broken, 50_000).order_no, fund.start(sound, 50_000).order_no
    for order_no in (bad, good):
        fund.wechat.pay(order_no)
    query = fund.wechat.query_payment

    def fails_for_one(order_no: str) -> Outcome:
        if order_no == bad:
            raise RuntimeError("a bug of the adapter")
        return query(order_no)

    fund.wechat.query_payment = fails_for_one  # type: ignore[method-assign]
    fund.clock.advance(seconds=20)
    assert resolve_orders(fund.ports) == {"error": 1, "credited": 1}
    assert "inquiry failed" in caplog.text
    assert fund.money(sound) == (70_000, 0)

    fund.wechat.query_payment = query  # type: ignore[method-assign]
    fund.clock.advance(seconds=40)
    assert resolve_orders(fund.ports) == {"credited": 1}
    assert fund.money(broken) == (70_000, 0)


def test_a_crash_after_the_claim_only_puts_the_question_off(fund: Fund, account_id: int) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    fund.wechat.pay(order_no)
    fund.clock.advance(seconds=20)
    query = fund.wechat.query_payment

    def dies(number: str) -> Outcome:
        raise KeyboardInterrupt

    fund.wechat.query_payment = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        resolve_orders(fund.ports)
    fund.wechat.query_payment = query  # type: ignore[method-assign]
    assert resolve_orders(fund.ports) == {}
    fund.clock.advance(seconds=40)
    assert resolve_orders(fund.ports) == {"credited": 1}
    assert fund.money(account_id) == (70_000, 0)


def test_a_batch_takes_the_longest_waiting_first(fund: Fund) -> None:
    orders = []
    for _ in range(3):
        orders.append(fund.start(an_account(fund.ports), 50_000).order_no)
        fund.clock.advance(seconds=1)
    fund.clock.advance(seconds=20)
    resolve_orders(fund.ports, limit=2)
    assert fund.wechat.calls[-2:] == [f"query_payment:{n}" for n in orders[:2]]
    resolve_orders(fund.ports, limit=2)
    assert fund.wechat.calls[-1] == f"query_payment:{orders[2]}"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: unknown(Reason.NO_ANSWER),
        lambda: Outcome(kind=OutcomeKind.FAILED, reason=Reason.OUR_FAULT, number=""),
        lambda: Outcome(kind=OutcomeKind.ACCEPTED, reason=Reason.PROCESSING, number=""),
    ],
)
def test_an_order_that_stays_undecided_for_a_day_is_shown_to_staff_once(
    fund: Fund, account_id: int, answer: Callable[[], Outcome]
) -> None:
    order_no = fund.start(account_id, 50_000).order_no
    expires_at = fund.order(order_no).expires_at
    fund.wechat.trouble["query_payment"] = [answer() for _ in range(50)]
    fund.clock.instant = expires_at + timedelta(hours=23, minutes=59)
    resolve_orders(fund.ports)
    assert fund.breaks() == []
    for _ in range(3):
        fund.clock.instant = max(fund.order(order_no).next_query_at, expires_at + timedelta(days=1))
        resolve_orders(fund.ports)
    assert fund.breaks() == [("undecided", order_no, 50_000, None)]
    assert fund.order(order_no).state is OrderState.AWAITING_PAYMENT

    # Asking goes on, and the truth still comes in.
    fund.wechat.trouble.clear()
    fund.wechat.pay(order_no)
    fund.clock.instant = fund.order(order_no).next_query_at
    assert resolve_orders(fund.ports) == {"credited": 1}


def test_every_open_order_has_a_next_question(fund: Fund, account_id: int) -> None:
    """An open order without one would never be asked about, and keep its room for ever."""
    for trouble in ([], ["lost_before"], ["lost_after"]):
        fund.wechat.trouble["prepare_payment"] = list(trouble)
        fund.start(account_id, 50_000)
    waiting = fund.ports.read(
        lambda session: session.execute(ORDER.select().where(ORDER.c.next_query_at.is_(None))).all()
    )
    assert waiting == []
    fund.ports.transact(
        lambda session: session.execute(update(ORDER).values(state=OrderState.SENDING))
    )
    fund.clock.advance(seconds=20)
    assert sum(resolve_orders(fund.ports).values()) == 3
