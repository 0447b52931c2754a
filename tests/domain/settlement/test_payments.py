"""What a channel's word about a payment does to the books, and what it must never do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select, update

from app.domain.base import table_of
from app.domain.breaks.models import Break
from app.domain.breaks.queries import list_breaks
from app.domain.contributors.models import Account, AccountStatus
from app.domain.inquiries.operations import resolve_orders
from app.domain.ledger.models import JournalEntry
from app.domain.payment_orders.models import OrderState, PaymentOrder
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.settlement import Effect
from app.domain.settlement.payments import apply_close, apply_payment
from tests.builders import an_account
from tests.fund import Fund, in_shanghai

ORDER = table_of(PaymentOrder)


def paid(order_no: str, amount_fen: int | None, reference: str = "T00000001") -> Outcome:
    return Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number=order_no,
        amount_fen=amount_fen,
        reference=reference,
        occurred_at=datetime(2026, 11, 24, 1, 59, tzinfo=UTC),
        raw_code="SUCCESS",
    )


def apply(fund: Fund, outcome: Outcome, *, channel: str = "wechat") -> Effect:
    return fund.ports.transact(
        lambda session: apply_payment(
            session, channel=channel, outcome=outcome, now=fund.clock.now()
        )
    )


def in_state(fund: Fund, state: OrderState) -> tuple[int, str]:
    """Return an account that had its opening subsidy before, and an order of 500.00 in `state`."""
    account_id = an_account(fund.ports)
    fund.ports.transact(
        lambda session: session.execute(
            update(Account)
            .where(Account.id == account_id)
            .values(first_deposit_on=date(2026, 1, 1))
        )
    )
    order_no = fund.start(account_id, 50_000).order_no
    fund.ports.transact(
        lambda session: session.execute(
            update(ORDER).where(ORDER.c.order_no == order_no).values(state=state)
        )
    )
    return account_id, order_no


# -- once, and exactly once ------------------------------------------------------------------------


def test_a_payment_is_credited_with_day_month_and_the_channels_number(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.deposit(account_id, 50_000)
    order = fund.order(order_no)
    assert order.state is OrderState.SUCCEEDED
    assert order.credited_on == date(2026, 11, 24)
    assert order.contribution_month == "2026-11"
    assert order.channel_reference == "T00000001"
    assert order.paid_at == order.ended_at == fund.clock.now()
    assert order.next_query_at is None
    assert fund.entries() == [
        (f"deposit:{order_no}", {"11901": 50_000, "20102": -50_000}),
        (f"opening-subsidy:{fund.person(account_id).id}:1", {"41104": 20_000, "20102": -20_000}),
    ]
    assert fund.money(account_id) == (70_000, 0)
    assert fund.offences() == []


def test_a_second_success_notice_does_not_post_again(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.deposit(account_id, 50_000)
    for _ in range(3):
        assert fund.notify(fund.wechat.callback(order_no)) == "ok"
    assert fund.callback_results() == ["credited", "duplicate", "duplicate", "duplicate"]
    assert fund.money(account_id) == (70_000, 0)
    assert fund.breaks() == []


@pytest.mark.parametrize(
    "state",
    [
        OrderState.SENDING,
        OrderState.AWAITING_PAYMENT,
        OrderState.UNKNOWN,
        OrderState.CLOSING,
    ],
)
def test_every_open_order_takes_its_money(fund: Fund, state: OrderState) -> None:
    account_id, order_no = in_state(fund, state)
    assert apply(fund, paid(order_no, 50_000)) is Effect.CREDITED
    assert fund.order(order_no).state is OrderState.SUCCEEDED
    assert fund.money(account_id) == (50_000, 0)


@pytest.mark.parametrize("kind", [OutcomeKind.ACCEPTED, OutcomeKind.UNKNOWN, OutcomeKind.FAILED])
@pytest.mark.parametrize("reason", [Reason.NOT_PAID, Reason.NOT_FOUND, Reason.UNLISTED])
def test_what_is_not_a_success_never_moves_money_nor_ends_the_order(
    fund: Fund, kind: OutcomeKind, reason: Reason
) -> None:
    account_id, order_no = in_state(fund, OrderState.AWAITING_PAYMENT)
    said = Outcome(kind=kind, reason=reason, number=order_no, amount_fen=50_000)
    assert apply(fund, said) is Effect.NOTHING
    assert fund.order(order_no).state is OrderState.AWAITING_PAYMENT
    assert fund.money(account_id) == (0, 0)


def test_closed_at_the_channel_closes_an_open_order_only(fund: Fund) -> None:
    account_id, order_no = in_state(fund, OrderState.AWAITING_PAYMENT)
    closed = Outcome(kind=OutcomeKind.FAILED, reason=Reason.CLOSED, number=order_no)
    assert apply(fund, closed) is Effect.CLOSED
    assert fund.order(order_no).state is OrderState.CLOSED

    credited = fund.deposit(account_id, 50_000)
    late = Outcome(kind=OutcomeKind.FAILED, reason=Reason.CLOSED, number=credited)
    assert apply(fund, late) is Effect.NOTHING
    assert fund.order(credited).state is OrderState.SUCCEEDED
    assert fund.money(account_id) == (50_000, 0)


@pytest.mark.parametrize("reason", [Reason.CLOSED, Reason.NOT_FOUND])
def test_an_unknown_answer_to_closing_closes_nothing(fund: Fund, reason: Reason) -> None:
    _, order_no = in_state(fund, OrderState.CLOSING)
    unknown = Outcome(kind=OutcomeKind.UNKNOWN, reason=reason, number=order_no)
    effect = fund.ports.transact(
        lambda session: apply_close(
            session, channel="wechat", outcome=unknown, now=fund.clock.now()
        )
    )
    assert effect is Effect.NOTHING
    assert fund.order(order_no).state is OrderState.CLOSING


def test_money_counts_for_interest_from_the_day_on_which_it_was_paid(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.clock.instant = in_shanghai(2026, 11, 30, 23, 59)
    order_no = fund.start(account_id, 50_000).order_no
    notice = fund.wechat.pay(order_no)
    fund.clock.advance(minutes=2)
    fund.notify(notice)

    entry = fund.ports.read(
        lambda session: session.scalars(
            select(JournalEntry).where(JournalEntry.posting_key == f"deposit:{order_no}")
        ).one()
    )
    assert entry.business_date == date(2026, 12, 1)
    assert entry.value_date == date(2026, 11, 30)
    assert fund.order(order_no).contribution_month == "2026-12"


# -- what does not fit -----------------------------------------------------------------------------


@pytest.mark.parametrize("amount_fen", [49_999, 50_001, 1, 0, -50_000, 5_000_000, None])
def test_another_amount_is_a_break_and_never_a_credit(fund: Fund, amount_fen: int | None) -> None:
    account_id, order_no = in_state(fund, OrderState.AWAITING_PAYMENT)
    assert apply(fund, paid(order_no, amount_fen)) is Effect.MISMATCH
    assert apply(fund, paid(order_no, amount_fen)) is Effect.MISMATCH
    assert fund.breaks() == [("amount_mismatch", order_no, 50_000, amount_fen)]
    assert fund.order(order_no).state is OrderState.AWAITING_PAYMENT
    assert fund.money(account_id) == (0, 0)
    assert fund.entries() == []


def test_the_right_amount_is_credited_also_after_a_wrong_one(fund: Fund) -> None:
    account_id, order_no = in_state(fund, OrderState.AWAITING_PAYMENT)
    apply(fund, paid(order_no, 49_999))
    assert apply(fund, paid(order_no, 50_000)) is Effect.CREDITED
    assert fund.money(account_id) == (50_000, 0)


@pytest.mark.parametrize("state", [OrderState.CLOSED, OrderState.FAILED])
def test_money_for_an_order_that_had_ended_waits_in_suspense(fund: Fund, state: OrderState) -> None:
    account_id, order_no = in_state(fund, state)
    assert apply(fund, paid(order_no, 50_000)) is Effect.SUSPENSE
    assert apply(fund, paid(order_no, 50_000)) is Effect.DUPLICATE
    order = fund.order(order_no)
    assert order.state is OrderState.IN_SUSPENSE
    assert order.credited_on is None
    assert order.contribution_month is None
    assert fund.entries() == [(f"suspense:{order_no}", {"11901": 50_000, "21901": -50_000})]
    assert fund.breaks() == [("late_payment", order_no, 50_000, 50_000)]
    assert fund.money(account_id) == (0, 0)
    assert fund.offences() == []


def test_money_for_a_closed_account_waits_in_suspense(fund: Fund) -> None:
    account_id, order_no = in_state(fund, OrderState.AWAITING_PAYMENT)
    fund.ports.transact(
        lambda session: session.execute(
            update(Account).where(Account.id == account_id).values(status=AccountStatus.CLOSED)
        )
    )
    assert apply(fund, paid(order_no, 50_000)) is Effect.SUSPENSE
    assert fund.breaks() == [("account_closed", order_no, 50_000, 50_000)]
    assert fund.money(account_id) == (0, 0)
    assert fund.offences() == []


@pytest.mark.parametrize("status", [AccountStatus.FROZEN, AccountStatus.SEALED])
def test_money_on_its_way_still_reaches_a_frozen_or_sealed_account(
    fund: Fund, status: AccountStatus
) -> None:
    account_id, order_no = in_state(fund, OrderState.AWAITING_PAYMENT)
    fund.ports.transact(
        lambda session: session.execute(
            update(Account).where(Account.id == account_id).values(status=status)
        )
    )
    assert apply(fund, paid(order_no, 50_000)) is Effect.CREDITED
    assert fund.money(account_id) == (50_000, 0)


def test_money_under_a_number_that_is_not_ours_waits_in_suspense_once(fund: Fund) -> None:
    stray = paid("D-not-ours", 33_300, "T-stray")
    assert [apply(fund, stray) for _ in range(3)] == [
        Effect.SUSPENSE,
        Effect.DUPLICATE,
        Effect.DUPLICATE,
    ]
    assert fund.entries() == [("suspense:wechat:T-stray", {"11901": 33_300, "21901": -33_300})]
    assert fund.breaks() == [("unknown_order", "D-not-ours", None, 33_300)]
    assert fund.offences() == []


def test_two_payments_under_one_strange_number_are_two_breaks(fund: Fund) -> None:
    apply(fund, paid("D-not-ours", 33_300, "T-one"))
    apply(fund, paid("D-not-ours", 33_300, "T-two"))
    assert fund.posting_keys() == ["suspense:wechat:T-one", "suspense:wechat:T-two"]
    assert fund.breaks() == [("unknown_order", "D-not-ours", None, 33_300)] * 2


@pytest.mark.parametrize("amount_fen", [None, 0])
def test_a_strange_number_without_an_amount_is_only_a_break(
    fund: Fund, amount_fen: int | None
) -> None:
    assert apply(fund, paid("D-not-ours", amount_fen)) is Effect.MISMATCH
    assert fund.entries() == []
    assert fund.breaks() == [("unknown_order", "D-not-ours", None, amount_fen)]


def test_what_is_not_paid_under_a_strange_number_is_nothing(fund: Fund) -> None:
    said = Outcome(kind=OutcomeKind.FAILED, reason=Reason.CLOSED, number="D-not-ours")
    assert apply(fund, said) is Effect.NOTHING
    assert fund.breaks() == []


def test_one_channel_cannot_pay_an_order_of_the_other(fund: Fund) -> None:
    account_id, order_no = in_state(fund, OrderState.AWAITING_PAYMENT)
    assert apply(fund, paid(order_no, 50_000, "A1"), channel="alipay") is Effect.SUSPENSE
    assert fund.order(order_no).state is OrderState.AWAITING_PAYMENT
    assert fund.money(account_id) == (0, 0)
    assert fund.breaks() == [("unknown_order", order_no, None, 50_000)]

    # The order itself still takes its own payment.
    assert apply(fund, paid(order_no, 50_000)) is Effect.CREDITED
    assert fund.posting_keys() == ["suspense:alipay:A1", f"deposit:{order_no}"]
    assert fund.offences() == []


def test_one_channel_cannot_close_an_order_of_the_other(fund: Fund) -> None:
    _, order_no = in_state(fund, OrderState.CLOSING)
    closed = Outcome(kind=OutcomeKind.SUCCEEDED, reason=Reason.CLOSED, number=order_no)
    effect = fund.ports.transact(
        lambda session: apply_close(session, channel="alipay", outcome=closed, now=fund.clock.now())
    )
    assert effect is Effect.NOTHING
    assert fund.order(order_no).state is OrderState.CLOSING


def test_paid_twice_under_two_references_is_credited_once_and_shown_to_staff(fund: Fund) -> None:
    account_id, order_no = in_state(fund, OrderState.AWAITING_PAYMENT)
    assert apply(fund, paid(order_no, 50_000, "T-one")) is Effect.CREDITED
    for reference in ("T-two", "T-two", "T-three"):
        assert apply(fund, paid(order_no, 50_000, reference)) is Effect.DUPLICATE
    assert fund.money(account_id) == (50_000, 0)
    assert fund.breaks() == [("paid_twice", order_no, 50_000, 50_000)] * 2


def test_a_break_survives_although_nothing_else_changed(fund: Fund) -> None:
    """The evidence is committed with the callback, not rolled back with a refusal."""
    account_id = an_account(fund.ports)
    order_no = fund.start(account_id, 50_000).order_no
    fund.wechat.pay(order_no)
    assert fund.notify(fund.wechat.callback(order_no, amount_fen=1)) == "ok"
    assert fund.callback_results() == ["mismatch"]
    assert fund.count(Break) == 1
    newest = fund.ports.read(lambda session: list_breaks(session))[0]
    assert newest.detail == {"reference": "T00000001", "raw_code": "OK"}
    assert newest.opened_at == fund.clock.now()


def test_breaks_are_listed_newest_first_and_page_by_page(fund: Fund) -> None:
    for number in ("one", "two", "three"):
        apply(fund, paid(number, 100, number))
    first = fund.ports.read(lambda session: list_breaks(session, limit=2))
    assert [row.number for row in first] == ["three", "two"]
    rest = fund.ports.read(lambda session: list_breaks(session, before_id=first[-1].id))
    assert [row.number for row in rest] == ["one"]


# -- closing and paying at once --------------------------------------------------------------------


def test_paid_while_closing_is_credited(fund: Fund) -> None:
    account_id, order_no = in_state(fund, OrderState.CLOSING)
    assert apply(fund, paid(order_no, 50_000)) is Effect.CREDITED
    refused = Outcome(kind=OutcomeKind.FAILED, reason=Reason.ALREADY_PAID, number=order_no)
    closed = fund.ports.transact(
        lambda session: apply_close(
            session, channel="wechat", outcome=refused, now=fund.clock.now()
        )
    )
    assert closed is Effect.NOTHING
    assert fund.order(order_no).state is OrderState.SUCCEEDED
    assert fund.money(account_id) == (50_000, 0)


def test_a_payer_who_confirms_while_we_close_keeps_the_deposit(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.start(account_id, 50_000)
    fund.clock.advance(minutes=30)
    close = fund.wechat.close_payment

    def too_late(number: str) -> Outcome:
        fund.wechat.pay(number)  # and the callback is lost
        return close(number)

    fund.wechat.close_payment = too_late  # type: ignore[method-assign]
    assert resolve_orders(fund.ports) == {"credited": 1}
    assert fund.money(account_id) == (70_000, 0)
    assert fund.breaks() == []


def test_an_outcome_without_a_time_counts_from_today(fund: Fund) -> None:
    _, order_no = in_state(fund, OrderState.AWAITING_PAYMENT)
    said = Outcome(kind=OutcomeKind.SUCCEEDED, reason=Reason.OK, number=order_no, amount_fen=50_000)
    fund.clock.advance(days=1)
    assert apply(fund, said) is Effect.CREDITED
    assert fund.order(order_no).paid_at == fund.clock.now()
    assert fund.clock.now() - fund.order(order_no).created_at == timedelta(days=1)
