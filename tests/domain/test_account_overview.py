"""The account at a glance, and the months that count."""

from __future__ import annotations

from datetime import datetime

import pytest

from app.domain.account_overview import AccountOverview, account_overview
from app.domain.deposits.queries import counted_months
from app.domain.inquiries.operations import resolve_refunds
from tests.builders import an_account
from tests.fund import Fund, in_shanghai


@pytest.fixture
def account_id(fund: Fund) -> int:
    return an_account(fund.ports)


def overview(fund: Fund, account_id: int) -> AccountOverview:
    return fund.ports.read(
        lambda session: account_overview(session, account_id=account_id, now=fund.clock.now())
    )


def months(fund: Fund, account_id: int) -> list[str]:
    return fund.ports.read(lambda session: counted_months(session, account_id=account_id))


def deposit_at(fund: Fund, account_id: int, instant: datetime, amount_fen: int) -> str:
    fund.clock.instant = instant
    return fund.deposit(account_id, amount_fen)


def give_back(fund: Fund, order_no: str, amount_fen: int) -> None:
    fund.release(fund.ask_back(order_no, amount_fen))
    fund.clock.advance(minutes=1)
    assert resolve_refunds(fund.ports) == {"refunded": 1}


def test_a_new_account_has_all_its_room_and_no_months(fund: Fund, account_id: int) -> None:
    assert overview(fund, account_id) == AccountOverview(
        account_no=fund.account(account_id).account_no,
        status="normal",
        balance_fen=0,
        available_fen=0,
        held_fen=0,
        year=2026,
        deposited_this_year_fen=0,
        yearly_cap_fen=9_084_960,
        room_fen=9_084_960,
        monthly_minimum_fen=12_150,
        months_counted=0,
        months=[],
        months_to_loan_gate=6,
        opening_subsidy_fen=0,
        next_debit=None,
    )


def test_balance_deposits_room_and_subsidy_are_told_apart(fund: Fund, account_id: int) -> None:
    order_no = fund.deposit(account_id, 50_000)
    fund.start(account_id, 30_000)
    fund.ask_back(order_no, 20_000)
    seen = overview(fund, account_id)
    assert (seen.balance_fen, seen.held_fen, seen.available_fen) == (70_000, 20_000, 50_000)
    assert seen.deposited_this_year_fen == 50_000
    assert seen.room_fen == 9_004_960  # 90,849.60 − 500.00 − 300.00 still payable
    assert seen.opening_subsidy_fen == 20_000
    assert (seen.months, seen.months_counted, seen.months_to_loan_gate) == (["2026-11"], 1, 5)


def test_a_subsidy_that_was_taken_back_is_not_shown(fund: Fund, account_id: int) -> None:
    give_back(fund, fund.deposit(account_id, 50_000), 50_000)
    seen = overview(fund, account_id)
    assert (seen.opening_subsidy_fen, seen.deposited_this_year_fen, seen.months) == (0, 0, [])
    assert seen.room_fen == 9_084_960


def test_last_years_deposits_are_not_this_years(
    fund: Fund, account_id: int, limits_known_from_2025_to_2027: None
) -> None:
    deposit_at(fund, account_id, in_shanghai(2025, 12, 31, 23, 59), 50_000)
    fund.clock.instant = in_shanghai(2026, 1, 1, 0, 1)
    seen = overview(fund, account_id)
    assert (seen.year, seen.deposited_this_year_fen, seen.room_fen) == (2026, 0, 9_084_960)
    assert seen.balance_fen == 70_000


def test_a_year_whose_cap_nobody_has_published_hides_only_the_cap(
    fund: Fund, account_id: int
) -> None:
    fund.deposit(account_id, 50_000)
    fund.clock.instant = in_shanghai(2027, 1, 1, 0, 1)
    seen = overview(fund, account_id)
    assert (seen.yearly_cap_fen, seen.room_fen) == (None, None)
    assert (seen.balance_fen, seen.months) == (70_000, ["2026-11"])


# -- months ----------------------------------------------------------------------------------------


def test_twelve_payments_inside_one_month_are_one_month(fund: Fund, account_id: int) -> None:
    for day in range(1, 13):
        deposit_at(fund, account_id, in_shanghai(2026, 11, day, 10), 12_150)
    assert months(fund, account_id) == ["2026-11"]


def test_six_months_with_gaps_open_the_way_to_a_loan(fund: Fund, account_id: int) -> None:
    for month in (1, 2, 4, 7, 8):
        deposit_at(fund, account_id, in_shanghai(2026, month, 15, 10), 12_150)
    assert overview(fund, account_id).months_to_loan_gate == 1
    deposit_at(fund, account_id, in_shanghai(2026, 12, 1, 10), 12_150)
    seen = overview(fund, account_id)
    assert seen.months == ["2026-01", "2026-02", "2026-04", "2026-07", "2026-08", "2026-12"]
    assert (seen.months_counted, seen.months_to_loan_gate) == (6, 0)


def test_the_month_is_shanghais(fund: Fund, account_id: int) -> None:
    deposit_at(fund, account_id, in_shanghai(2026, 11, 1, 0, 1), 12_150)  # 31 October in UTC
    assert months(fund, account_id) == ["2026-11"]


def test_what_is_left_of_a_month_after_refunds_adds_up(fund: Fund, account_id: int) -> None:
    first, second = fund.deposit(account_id, 12_150), fund.deposit(account_id, 12_150)
    give_back(fund, first, 6_150)
    give_back(fund, second, 6_150)
    # 60.00 + 60.00 = 120.00: under 121.50 together
    assert months(fund, account_id) == []
    third = fund.deposit(account_id, 12_150)
    give_back(fund, third, 12_000)
    # 60.00 + 60.00 + 1.50 = 121.50
    assert months(fund, account_id) == ["2026-11"]


def test_a_month_whose_deposit_was_given_back_does_not_count(fund: Fund, account_id: int) -> None:
    kept = deposit_at(fund, account_id, in_shanghai(2026, 10, 15, 10), 12_150)
    gone = deposit_at(fund, account_id, in_shanghai(2026, 11, 15, 10), 12_150)
    give_back(fund, gone, 12_150)
    assert months(fund, account_id) == ["2026-10"]
    assert fund.order(kept).contribution_month == "2026-10"


def test_an_unpaid_order_makes_no_month(fund: Fund, account_id: int) -> None:
    fund.start(account_id, 12_150)
    assert months(fund, account_id) == []


def test_each_month_is_measured_by_the_wage_of_its_own_time(
    fund: Fund, account_id: int, limits_known_from_2025_to_2027: None
) -> None:
    deposit_at(fund, account_id, in_shanghai(2025, 12, 31, 23, 59), 11_300)
    january = deposit_at(fund, account_id, in_shanghai(2026, 1, 1, 0, 1), 12_150)
    assert months(fund, account_id) == ["2025-12", "2026-01"]
    give_back(fund, january, 850)
    # 113.00 would have been enough in December
    assert months(fund, account_id) == ["2025-12"]


def test_the_month_in_which_the_programme_began_counts(
    fund: Fund, account_id: int, limits_known_from_2025_to_2027: None
) -> None:
    deposit_at(fund, account_id, in_shanghai(2025, 6, 9, 0, 0), 11_300)
    assert months(fund, account_id) == ["2025-06"]
