"""Choosing the figure in force, and the figures that follow from others."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from app.domain.errors import Ineligible, RuleViolation
from app.domain.policy.rules import (
    Figures,
    NoPolicyValue,
    PolicyLine,
    ProgrammeNotInForce,
    check_programme,
    compute_monthly_minimum,
    compute_yearly_cap,
    find_in_force,
    group_by_name,
    write_value,
)


def a_line(begins: str, *, until: str | None = None, value: object = 1) -> PolicyLine:
    return PolicyLine(
        name="loan.gate_months",
        title="测试参数",
        unit="months",
        value=write_value(value),
        effective_from=date.fromisoformat(begins),
        until=date.fromisoformat(until) if until else None,
        source="测试",
        status="assumed",
    )


FIRST = a_line("2020-01-01", until="2020-12-31")
SECOND = a_line("2022-01-01")
THIRD = a_line("2023-07-01")
HISTORY = [FIRST, SECOND, THIRD]


@pytest.mark.parametrize(
    ("day", "line"),
    [
        ("2019-12-31", None),
        ("2020-01-01", FIRST),
        ("2020-12-31", FIRST),
        ("2021-01-01", None),
        ("2021-12-31", None),
        ("2022-01-01", SECOND),
        ("2023-06-30", SECOND),
        ("2023-07-01", THIRD),
        ("2099-12-31", THIRD),
    ],
)
def test_a_line_holds_from_its_first_day_to_its_last_or_to_the_next(day, line):
    assert find_in_force(HISTORY, on=date.fromisoformat(day)) is line


def test_a_later_line_ends_an_earlier_one_that_was_to_run_longer():
    short = a_line("2021-01-01", until="2021-06-30")
    history = [a_line("2020-01-01", until="2021-12-31"), short]
    assert find_in_force(history, on=date(2021, 6, 30)) is short
    assert find_in_force(history, on=date(2021, 7, 1)) is None


def test_lines_are_grouped_oldest_first_whatever_their_order():
    assert group_by_name([THIRD, FIRST, SECOND]) == {"loan.gate_months": HISTORY}


def test_a_day_without_a_value_is_refused_by_name_and_day():
    figures = Figures({"loan.gate_months": HISTORY}, day=date(2021, 3, 5))
    with pytest.raises(NoPolicyValue) as refused:
        figures.line("loan.gate_months")
    assert isinstance(refused.value, RuleViolation)
    assert refused.value.code == "no_policy_value"
    assert refused.value.message == "2021-03-05 没有有效的政策参数“测试参数”，暂不能办理"
    assert refused.value.detail == {"parameter": "loan.gate_months", "day": "2021-03-05"}


def test_a_parameter_that_was_never_loaded_is_refused_too():
    figures = Figures({}, day=date(2026, 11, 24))
    for ask in (figures.line, figures.nearest, figures.value):
        with pytest.raises(NoPolicyValue, match="loan.gate_months"):
            ask("loan.gate_months")


@pytest.mark.parametrize(
    ("day", "line"),
    [("2019-01-01", FIRST), ("2021-06-01", FIRST), ("2022-01-01", SECOND), ("2030-01-01", THIRD)],
)
def test_the_nearest_line_is_the_last_begun_or_the_first(day, line):
    figures = Figures({"loan.gate_months": HISTORY}, day=date.fromisoformat(day))
    assert figures.nearest("loan.gate_months") is line


@pytest.mark.parametrize(
    ("wage_fen", "rate", "minimum_fen"),
    [
        (226_000, "0.05", 11_300),  # 2,260 × 5 % = 113.00
        (243_000, "0.05", 12_150),  # 2,430 × 5 % = 121.50
        (226_000, "0.10", 22_600),
        (243_000, "0.10", 24_300),
        (243_010, "0.05", 12_151),  # 12,150.5 rounds up
        (243_009, "0.05", 12_150),  # 12,150.45 rounds down
    ],
)
def test_the_monthly_minimum_is_wage_times_rate_rounded_half_up(wage_fen, rate, minimum_fen):
    assert compute_monthly_minimum(wage_fen, rate=Decimal(rate)) == minimum_fen


@pytest.mark.parametrize(
    ("base_fen", "rate", "cap_fen"),
    [
        (3_154_500, "0.24", 9_084_960),  # 31,545 × 24 % × 12 = 90,849.60
        (100_001, "0.125", 150_002),  # 150,001.5 rounds up, once and at the end
    ],
)
def test_the_yearly_cap_is_base_times_rate_times_twelve(base_fen, rate, cap_fen):
    assert compute_yearly_cap(base_fen, rate=Decimal(rate)) == cap_fen


BEGINS, ENDS = date(2025, 6, 9), date(2027, 12, 31)


def test_both_ends_of_the_pilot_are_inside():
    check_programme(BEGINS, begins_on=BEGINS, ends_on=ENDS)
    check_programme(ENDS, begins_on=BEGINS, ends_on=ENDS)
    check_programme(date(2099, 1, 1), begins_on=BEGINS, ends_on=None)


@pytest.mark.parametrize(
    ("day", "message"),
    [
        (date(2025, 6, 8), "试点自 2025-06-09 起施行，尚未开始受理"),
        (date(2028, 1, 1), "试点已于 2027-12-31 结束，不再受理"),
    ],
)
def test_outside_the_pilot_everything_is_refused(day, message):
    with pytest.raises(ProgrammeNotInForce) as refused:
        check_programme(day, begins_on=BEGINS, ends_on=ENDS)
    assert isinstance(refused.value, Ineligible)
    assert refused.value.code == "programme_not_in_force"
    assert refused.value.message == message
    assert refused.value.detail == {
        "begins_on": "2025-06-09",
        "ends_on": "2027-12-31",
        "clause": "试点方案",
    }
