"""Placing an order: what is refused, what counts against the cap, and answers that get lost."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from app.domain.contributors.models import AccountStatus
from app.domain.deposits.operations import deposit_with_payment
from app.domain.deposits.queries import list_deposits, used_this_year_fen
from app.domain.deposits.rules import (
    AccountNotUsable,
    AmountBelowMinimum,
    YearlyCapExceeded,
)
from app.domain.errors import Invalid, NotFound
from app.domain.inquiries.operations import resolve_orders
from app.domain.payment_orders.models import OrderState, PaymentOrder
from app.domain.policy.rules import NoPolicyValue, ProgrammeNotInForce
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from tests.builders import an_account
from tests.fund import Fund, in_shanghai

CAP_FEN = 9_084_960  # 31,545.00 × 24 % × 12 = 90,849.60


def room_fen(fund: Fund, account_id: int, *, today: date, cap_fen: int = CAP_FEN) -> int:
    return cap_fen - fund.ports.read(
        lambda session: used_this_year_fen(session, account_id=account_id, today=today)
    )


# -- the way of an order ---------------------------------------------------------------------------


def test_an_order_is_stored_and_the_phone_gets_what_it_needs_to_pay(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    view = fund.start(account_id, 50_000)
    assert view.state is OrderState.AWAITING_PAYMENT
    assert view.amount_fen == 50_000
    assert view.payment == {"prepay": "P-T00000001"}
    assert view.expires_at == datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
    assert fund.wechat.trades[view.order_no].amount_fen == 50_000
    assert fund.money(account_id) == (0, 0)


def test_the_order_is_in_the_database_before_the_channel_hears_of_it(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    seen: list[str] = []
    prepare = fund.wechat.prepare_payment

    def looking(request):  # type: ignore[no-untyped-def]
        seen.append(fund.order(request.order_no).state.value)
        return prepare(request)

    fund.wechat.prepare_payment = looking  # type: ignore[method-assign]
    fund.start(account_id, 50_000)
    assert seen == ["sending"]


def test_a_crash_before_the_channel_is_asked_leaves_an_order_that_the_same_key_sends(
    fund: Fund,
) -> None:
    account_id = an_account(fund.ports)

    def crash(request):  # type: ignore[no-untyped-def]
        raise KeyboardInterrupt

    prepare, fund.wechat.prepare_payment = fund.wechat.prepare_payment, crash  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fund.start(account_id, 50_000, key="the-same-key")
    fund.wechat.prepare_payment = prepare  # type: ignore[method-assign]

    view = fund.start(account_id, 50_000, key="the-same-key")
    assert view.state is OrderState.AWAITING_PAYMENT
    assert fund.count(PaymentOrder) == 1


def test_a_channel_that_we_do_not_have_is_refused(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    with pytest.raises(Invalid) as refusal:
        fund.start(account_id, 50_000, channel="bank")
    assert refusal.value.detail == {"field": "channel"}
    assert fund.count(PaymentOrder) == 0


@pytest.mark.parametrize(
    "status", [AccountStatus.SEALED, AccountStatus.CLOSED, AccountStatus.FROZEN]
)
def test_only_a_normal_account_takes_deposits(fund: Fund, status: AccountStatus) -> None:
    account_id = an_account(fund.ports, status=status)
    with pytest.raises(AccountNotUsable):
        fund.start(account_id, 50_000)
    assert fund.count(PaymentOrder) == 0


def test_an_account_that_does_not_exist_is_refused(fund: Fund) -> None:
    with pytest.raises(AccountNotUsable):
        fund.start(999_999, 50_000)


# -- amounts ---------------------------------------------------------------------------------------


def test_a_refusal_leaves_nothing_and_asks_no_channel(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    with pytest.raises(AmountBelowMinimum):
        fund.start(account_id, 12_149)
    assert fund.count(PaymentOrder) == 0
    assert fund.wechat.calls == []
    assert fund.account(account_id).order_count == 0
    assert fund.start(account_id, 12_150).amount_fen == 12_150


@pytest.mark.usefixtures("limits_known_from_2025_to_2027")
def test_the_minimum_follows_the_wage_in_force_on_shanghais_day(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.clock.instant = in_shanghai(2025, 12, 31, 23, 59)
    with pytest.raises(AmountBelowMinimum) as last_year:
        fund.start(account_id, 11_299)
    assert last_year.value.detail["minimum_fen"] == 11_300  # 2,260 × 5 %
    fund.start(account_id, 11_300)

    fund.clock.instant = in_shanghai(2026, 1, 1, 0, 1)  # still 31 December in UTC
    with pytest.raises(AmountBelowMinimum) as this_year:
        fund.start(account_id, 12_149)
    assert this_year.value.detail["minimum_fen"] == 12_150  # 2,430 × 5 %
    fund.start(account_id, 12_150)


def test_the_yearly_cap_can_be_filled_to_the_fen(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.deposit(account_id, 9_000_000)
    with pytest.raises(YearlyCapExceeded) as refusal:
        fund.start(account_id, 84_961)
    assert refusal.value.detail["room_fen"] == 84_960  # 90,849.60 − 90,000.00
    fund.deposit(account_id, 84_960)
    with pytest.raises(YearlyCapExceeded) as full:
        fund.start(account_id, 12_150)
    assert full.value.detail["room_fen"] == 0


def test_an_order_that_can_still_be_paid_takes_its_room(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.start(account_id, 9_000_000)
    with pytest.raises(YearlyCapExceeded) as refusal:
        fund.start(account_id, 84_961, channel="alipay")
    assert refusal.value.detail["room_fen"] == 84_960


def test_an_order_that_was_closed_or_refused_gives_its_room_back(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.start(account_id, 9_000_000)
    fund.clock.advance(minutes=30)
    assert resolve_orders(fund.ports) == {"closed": 1}
    refused = Outcome(
        kind=OutcomeKind.FAILED, reason=Reason.PAYER_REFUSED, number="", raw_code="RULELIMIT"
    )
    fund.wechat.trouble["prepare_payment"] = [refused]
    assert fund.start(account_id, CAP_FEN).state is OrderState.FAILED
    assert fund.start(account_id, CAP_FEN).state is OrderState.AWAITING_PAYMENT


def test_another_persons_deposits_take_no_room(fund: Fund) -> None:
    fund.deposit(an_account(fund.ports), CAP_FEN)
    fund.deposit(an_account(fund.ports), CAP_FEN)
    assert fund.offences() == []


def test_subsidies_take_no_room(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.deposit(account_id, 9_000_000)
    assert fund.money(account_id) == (9_020_000, 0)  # with the opening subsidy of 200.00
    assert room_fen(fund, account_id, today=date(2026, 11, 24)) == 84_960


@pytest.mark.usefixtures("limits_known_from_2025_to_2027")
def test_the_years_room_turns_at_shanghais_midnight(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.clock.instant = in_shanghai(2026, 12, 31, 23, 59)
    fund.deposit(account_id, CAP_FEN)
    with pytest.raises(YearlyCapExceeded):
        fund.start(account_id, 12_150)

    fund.clock.instant = in_shanghai(2027, 1, 1, 0, 1)  # still 31 December in UTC
    next_cap_fen = 9_216_000  # 32,000.00 × 24 % × 12
    with pytest.raises(YearlyCapExceeded) as refusal:
        fund.start(account_id, next_cap_fen + 1)
    assert refusal.value.detail["room_fen"] == next_cap_fen
    fund.deposit(account_id, next_cap_fen)
    assert room_fen(fund, account_id, today=date(2026, 12, 31)) == 0
    assert room_fen(fund, account_id, today=date(2027, 1, 1), cap_fen=next_cap_fen) == 0


@pytest.mark.usefixtures("limits_known_from_2025_to_2027")
def test_an_order_of_the_old_year_paid_in_the_new_one_counts_for_the_new_one(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.clock.instant = in_shanghai(2026, 12, 31, 23, 50)
    order_no = fund.start(account_id, 9_000_000).order_no

    fund.clock.instant = in_shanghai(2027, 1, 1, 0, 5)
    with pytest.raises(YearlyCapExceeded) as refusal:
        fund.start(account_id, 216_001)
    assert refusal.value.detail["room_fen"] == 216_000  # 92,160.00 − 90,000.00
    fund.notify(fund.wechat.pay(order_no))
    assert fund.order(order_no).credited_on == date(2027, 1, 1)
    assert fund.order(order_no).contribution_month == "2027-01"
    assert room_fen(fund, account_id, today=date(2026, 12, 31)) == CAP_FEN
    assert room_fen(fund, account_id, today=date(2027, 1, 1), cap_fen=9_216_000) == 216_000


def test_a_year_without_a_published_limit_takes_no_deposit(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.clock.instant = in_shanghai(2027, 1, 1, 0, 1)
    with pytest.raises(NoPolicyValue):
        fund.start(account_id, 50_000)
    assert fund.count(PaymentOrder) == 0


@pytest.mark.parametrize(
    "instant", [in_shanghai(2025, 6, 8, 23, 59), in_shanghai(2028, 1, 1, 0, 0)]
)
def test_outside_the_programme_no_deposit_begins(fund: Fund, instant: datetime) -> None:
    account_id = an_account(fund.ports)
    fund.clock.instant = instant
    with pytest.raises(ProgrammeNotInForce):
        fund.start(account_id, 50_000)
    assert fund.count(PaymentOrder) == 0


# -- one's own deposits ----------------------------------------------------------------------------


def test_what_the_phone_needs_is_given_only_while_it_can_pay(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.start(account_id, 50_000).order_no
    fund.clock.advance(minutes=29, seconds=59)
    assert deposit_with_payment(fund.ports, account_id=account_id, order_no=order_no).payment
    fund.clock.advance(seconds=1)
    assert not deposit_with_payment(fund.ports, account_id=account_id, order_no=order_no).payment


def test_somebody_elses_deposit_is_not_found(fund: Fund) -> None:
    order_no = fund.start(an_account(fund.ports), 50_000).order_no
    stranger = an_account(fund.ports)
    for number in (order_no, "D-unknown"):
        with pytest.raises(NotFound) as refusal:
            deposit_with_payment(fund.ports, account_id=stranger, order_no=number)
        assert refusal.value.message == "未找到该笔缴存"


def test_deposits_are_listed_newest_first_and_page_by_page(fund: Fund) -> None:
    account_id, other = an_account(fund.ports), an_account(fund.ports)
    numbers = [fund.start(account_id, 20_000 + n).order_no for n in range(3)]
    fund.start(other, 50_000)

    def page(before_id: int | None = None) -> list[tuple[int, str]]:
        return [
            (view.id, view.order_no)
            for view in fund.ports.read(
                lambda session: list_deposits(
                    session, account_id=account_id, before_id=before_id, limit=2
                )
            )
        ]

    first = page()
    assert [number for _, number in first] == [numbers[2], numbers[1]]
    assert [number for _, number in page(first[-1][0])] == [numbers[0]]


def test_what_is_refundable_is_what_was_credited_and_not_asked_back(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    waiting = fund.start(account_id, 50_000)
    assert waiting.refundable_fen == 0
    order_no = fund.deposit(account_id, 50_000)
    fund.ask_back(order_no, 20_000)
    view = deposit_with_payment(fund.ports, account_id=account_id, order_no=order_no)
    assert (view.refundable_fen, view.refunded_fen) == (30_000, 0)
