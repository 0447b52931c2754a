"""The parameters (政策参数) as typed attributes, a class a group.

`policy.loan.gate_months` reads the parameter `loan.gate_months`. What it means, its unit and its
source stand in its line. A new one is a file in `config/policy` and a line here; no figure is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Generic, TypeVar

from app.domain.policy.rules import (
    Figures,
    check_programme,
    compute_monthly_minimum,
    compute_yearly_cap,
)

T = TypeVar("T")


class Group:
    """The parameters whose names begin with the class's own name, on one day."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures


class Figure(Generic[T]):
    """One parameter. Reading it raises NoPolicyValue on a day without a value."""

    def __init__(self, read: Callable[[Any], T]) -> None:
        self.read = read

    def __set_name__(self, owner: type[Group], name: str) -> None:
        self.name = f"{owner.__name__.lower()}.{name}"

    def __get__(self, group: Group, owner: type[Group]) -> T:
        return self.read(group.figures.value(self.name))


def a_number(value: object) -> int:
    """Read fen, days, months, years or times."""
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    return value


def a_rate(value: object) -> Decimal:
    """Read a ratio or a factor."""
    return Decimal(a_word(value))


def a_word(value: object) -> str:
    """Read the name of a choice, or a month and day written ``06-30``."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def list_of(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """Read several figures in their order."""
    return lambda values: tuple(map(read, values))


def table_of(read: Callable[[Any], T]) -> Callable[[Any], Mapping[str, T]]:
    """Read figures by key."""
    return lambda values: {key: read(value) for key, value in values.items()}


class Programme(Group):
    validity = Figure(a_word)

    def check_open(self) -> None:
        """Refuse a day on which the pilot takes neither people nor money.

        Raises:
            ProgrammeNotInForce: it has not begun or is over.
        """
        line = self.figures.nearest("programme.validity")
        check_programme(self.figures.day, begins_on=line.effective_from, ends_on=line.until)


class Enrolment(Group):
    minimum_age = Figure(a_number)
    full_capacity_age = Figure(a_number)


class Deposit(Group):
    minimum_wage_fen = Figure(table_of(a_number))
    minimum_wage_class = Figure(a_word)
    minimum_rate = Figure(a_rate)
    base_limit_fen = Figure(a_number)
    maximum_rate = Figure(a_rate)
    cap_mode = Figure(a_word)
    value_date_basis = Figure(a_word)

    @property
    def local_minimum_wage_fen(self) -> int:
        """The minimum wage of the class of area that applies."""
        return self.minimum_wage_fen[self.minimum_wage_class]

    @property
    def monthly_minimum_fen(self) -> int:
        """The lowest amount that makes a month count."""
        return compute_monthly_minimum(self.local_minimum_wage_fen, rate=self.minimum_rate)

    @property
    def yearly_cap_fen(self) -> int:
        """The most that may be paid in within the calendar year."""
        return compute_yearly_cap(self.base_limit_fen, rate=self.maximum_rate)


class Interest(Group):
    yearly_rate = Figure(a_rate)
    current_year_rate = Figure(a_rate)
    carried_over_rate = Figure(a_rate)
    days_in_year = Figure(a_number)
    settlement_day = Figure(a_word)
    rate_change_mode = Figure(a_word)


class Subsidy(Group):
    opening_basic_fen = Figure(a_number)
    opening_children_fen = Figure(a_number)
    opening_degree_fen = Figure(a_number)
    lifetime_cap_fen = Figure(a_number)
    opening_lock_months = Figure(a_number)
    late_evidence_days = Figure(a_number)
    yearly_rate = Figure(a_rate)
    yearly_holding_years = Figure(a_number)
    yearly_basis = Figure(a_word)
    yearly_lots = Figure(table_of(a_word))
    lot_order = Figure(a_word)


class Loan(Group):
    first_home_rate = Figure(table_of(a_rate))
    second_home_rate = Figure(table_of(a_rate))
    second_home_rate_multiple = Figure(a_rate)
    short_term_months = Figure(a_number)
    repricing_day = Figure(a_word)
    fixed_rate_months = Figure(a_number)
    ceiling_fen = Figure(table_of(a_number))
    talent_ceiling_fen = Figure(a_number)
    minimum_fen = Figure(a_number)
    first_home_down_payment_ratio = Figure(a_rate)
    second_home_down_payment_ratio = Figure(a_rate)
    term_months_max = Figure(a_number)
    age_limit_years = Figure(table_of(a_number))
    age_over_retirement_years = Figure(a_number)
    building_age_and_term_years = Figure(a_number)
    repayment_to_income_ratio = Figure(a_rate)
    gate_months = Figure(a_number)
    gate_account_status = Figure(a_word)
    local_months_min = Figure(a_number)
    used_loans_max = Figure(a_number)
    decision_days = Figure(a_number)
    prepayment_minimum_fen = Figure(a_number)
    penalty_uplift_ratio = Figure(a_rate)
    check_interval_months = Figure(a_number)
    unpaid_months_flag = Figure(table_of(a_number))
    fraud_ban_years = Figure(a_number)


class Quota(Group):
    balance_factor = Figure(a_rate)
    contribution_factor = Figure(a_rate)
    balance_days = Figure(a_number)
    contribution_months = Figure(a_number)
    contribution_months_min = Figure(a_number)
    length_factor = Figure(table_of(a_rate))
    frequency_factor = Figure(table_of(a_rate))
    home_uplift_ratio = Figure(a_rate)
    talent_uplift_ratio = Figure(a_rate)
    uplift_stacking = Figure(a_word)
    uplift_target = Figure(a_word)
    rounding_fen = Figure(a_number)


class Retirement(Group):
    base_age_months = Figure(table_of(a_number))
    final_age_months = Figure(table_of(a_number))
    months_per_step = Figure(table_of(a_number))


class Withdrawal(Group):
    decision_days = Figure(a_number)
    fraud_ban_years = Figure(a_number)
    closed_kinds = Figure(list_of(a_word))
    rent_monthly_fen = Figure(table_of(a_number))
    rent_children_uplift_ratio = Figure(a_rate)
    window_months = Figure(table_of(a_number))
    full_payment_wait_months = Figure(a_number)
    pre_loan_times_per_month = Figure(a_number)
    pre_loan_holding_months = Figure(a_number)


class Debit(Group):
    day_max = Figure(a_number)
    notice_days = Figure(a_number)
    retry_days = Figure(list_of(a_number))
    retry_reasons = Figure(list_of(a_word))
    missed_periods_to_suspend = Figure(a_number)
    suspension_months_max = Figure(a_number)
    bank_days = Figure(a_word)
    bank_day_channels = Figure(list_of(a_word))
    batch_cutoff_hour = Figure(a_number)


class Mandate(Group):
    code_tries_max = Figure(a_number)
    starts_per_day_max = Figure(a_number)
    validity_months = Figure(a_number)


class Reserve(Group):
    method = Figure(a_word)
    loan_balance_ratio = Figure(a_rate)
    gain_ratio = Figure(a_rate)
    grade_days = Figure(table_of(a_number))
    shadow_ratio = Figure(table_of(a_rate))


class Liquidity(Group):
    loan_ratio_levels = Figure(list_of(a_rate))


class Tax(Group):
    window_begins = Figure(a_word)
    window_ends = Figure(a_word)
