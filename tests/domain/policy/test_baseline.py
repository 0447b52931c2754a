"""The figures themselves, on the day before and on the day of every change that matters."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest

from app.domain.policy.groups import Figure, Group
from app.domain.policy.models import PolicyStatus
from app.domain.policy.rules import NoPolicyValue, ProgrammeNotInForce, find_in_force
from tests.domain.policy.baseline import LINES, policy_on


@pytest.mark.parametrize(
    ("day", "minimum_fen"),
    [
        ("2018-07-31", 8_600),  # 1,720 × 5 %
        ("2018-08-01", 9_150),  # 1,830 × 5 %
        ("2021-07-31", 9_150),
        ("2021-08-01", 10_350),  # 2,070 × 5 %
        ("2023-12-31", 10_350),
        ("2024-01-01", 11_300),  # 2,260 × 5 %
        ("2025-06-01", 11_300),
        ("2025-12-31", 11_300),
        ("2026-01-01", 12_150),  # 2,430 × 5 %
        ("2026-11-24", 12_150),
    ],
)
def test_the_monthly_minimum_follows_the_wage_in_force(day, minimum_fen):
    assert policy_on(day).deposit.monthly_minimum_fen == minimum_fen


@pytest.mark.parametrize(
    ("day", "wages_fen"),
    [
        ("2016-01-01", (177_000, 160_000, 140_000)),
        ("2017-06-30", (177_000, 160_000, 140_000)),
        ("2017-07-01", (189_000, 172_000, 152_000)),
        ("2018-08-01", (202_000, 183_000, 162_000)),
        ("2021-08-01", (228_000, 207_000, 184_000)),
        ("2024-01-01", (249_000, 226_000, 201_000)),
        ("2026-01-01", (266_000, 243_000, 218_000)),
    ],
)
def test_the_minimum_wage_of_every_class_of_area(day, wages_fen):
    wages = policy_on(day).deposit.minimum_wage_fen
    assert (wages["I"], wages["II"], wages["III"]) == wages_fen


def test_the_yearly_cap_is_known_for_2026_only():
    # 31,545 × 24 % × 12
    assert policy_on("2026-01-01").deposit.yearly_cap_fen == 9_084_960
    assert policy_on("2026-12-31").deposit.yearly_cap_fen == 9_084_960
    for day in ("2025-12-31", "2027-01-01"):
        with pytest.raises(NoPolicyValue, match=f"{day} 没有有效的政策参数“月缴存基数上限”"):
            _ = policy_on(day).deposit.yearly_cap_fen


def test_one_interest_rate_since_2016_and_two_before():
    before, after = policy_on("2016-02-20").interest, policy_on("2016-02-21").interest
    assert (before.current_year_rate, before.carried_over_rate) == (
        Decimal("0.0035"),
        Decimal("0.0110"),
    )
    assert after.yearly_rate == Decimal("0.0150")
    assert after.days_in_year == 360
    with pytest.raises(NoPolicyValue):
        _ = before.yearly_rate
    with pytest.raises(NoPolicyValue):
        _ = after.current_year_rate


@pytest.mark.parametrize(
    ("day", "first", "second"),
    [
        ("2014-11-22", "3.75 4.25", "4.125 4.675"),
        ("2015-02-28", "3.75 4.25", "4.125 4.675"),
        ("2015-03-01", "3.50 4.00", "3.85 4.40"),
        ("2015-05-11", "3.25 3.75", "3.575 4.125"),
        ("2015-06-28", "3.00 3.50", "3.30 3.85"),
        ("2015-08-25", "3.00 3.50", "3.30 3.85"),
        ("2015-08-26", "2.75 3.25", "3.025 3.575"),
        ("2022-09-30", "2.75 3.25", "3.025 3.575"),
        ("2022-10-01", "2.60 3.10", "3.025 3.575"),
        ("2024-05-17", "2.60 3.10", "3.025 3.575"),
        ("2024-05-18", "2.35 2.85", "2.775 3.325"),
        ("2025-05-07", "2.35 2.85", "2.775 3.325"),
        ("2025-05-08", "2.10 2.60", "2.525 3.075"),
        ("2026-11-24", "2.10 2.60", "2.525 3.075"),
    ],
)
def test_loan_rates_by_day_in_percent(day, first, second):
    loan = policy_on(day).loan
    for rates, percent in ((loan.first_home_rate, first), (loan.second_home_rate, second)):
        assert [rates["short"] * 100, rates["long"] * 100] == [*map(Decimal, percent.split())]


def test_the_second_home_paid_a_tenth_more_until_its_rate_was_published():
    for line in LINES["loan.second_home_rate"]:
        loan = policy_on(line.effective_from.isoformat()).loan
        if line.effective_from.year < 2022:
            for term in ("short", "long"):
                expected = loan.first_home_rate[term] * loan.second_home_rate_multiple
                assert loan.second_home_rate[term] == expected
        else:
            with pytest.raises(NoPolicyValue):
                _ = loan.second_home_rate_multiple


def test_loan_ceilings_hold_until_the_end_of_june_2027():
    for day in ("2026-04-01", "2027-06-30"):
        loan = policy_on(day).loan
        assert loan.ceiling_fen == {
            "one_contributor": 80_000_000,
            "two_contributors": 120_000_000,
            "two_children_one_contributor": 90_000_000,
            "two_children_two_contributors": 140_000_000,
            "three_children_one_contributor": 100_000_000,
            "three_children_two_contributors": 150_000_000,
        }
        assert loan.talent_ceiling_fen == 160_000_000
    for day in ("2026-03-31", "2027-07-01"):
        with pytest.raises(NoPolicyValue):
            _ = policy_on(day).loan.ceiling_fen


def test_subsidies_are_those_of_the_plan():
    subsidy = policy_on("2025-06-09").subsidy
    assert subsidy.opening_basic_fen == 20_000
    assert subsidy.opening_children_fen == 30_000
    assert subsidy.opening_degree_fen == 40_000
    assert subsidy.lifetime_cap_fen == 1_000_000
    assert subsidy.yearly_rate == Decimal("0.012")
    assert policy_on("2025-06-08").subsidy.yearly_rate == Decimal("0.01")
    with pytest.raises(NoPolicyValue):
        _ = policy_on("2025-06-08").subsidy.opening_basic_fen


def test_the_ages_and_the_gate_of_the_plan():
    policy = policy_on("2026-11-24")
    assert (policy.enrolment.minimum_age, policy.enrolment.full_capacity_age) == (16, 18)
    assert policy.loan.gate_months == 6


def test_the_revised_regulation_counts_from_20_september_2026():
    assert policy_on("2026-09-19").loan.decision_days == 15
    assert policy_on("2026-09-20").loan.decision_days == 10
    assert policy_on("2026-09-20").withdrawal.decision_days == 3
    assert policy_on("2026-09-20").withdrawal.fraud_ban_years == 3
    assert policy_on("2026-09-20").loan.fraud_ban_years == 5


def test_the_coefficients_of_the_quota():
    quota = policy_on("2026-11-24").quota
    assert (quota.balance_factor, quota.contribution_factor) == (20, 60)
    assert quota.length_factor == {
        "6": Decimal("0.80"),
        "12": Decimal("1.00"),
        "24": Decimal("1.10"),
        "36": Decimal("1.20"),
        "60": Decimal("1.30"),
    }
    assert quota.frequency_factor == {
        "0": Decimal("0.80"),
        "0.5": Decimal("0.90"),
        "0.75": Decimal("0.95"),
        "0.9": Decimal("1.00"),
    }
    assert (quota.home_uplift_ratio, quota.talent_uplift_ratio) == (
        Decimal("0.2"),
        Decimal("0.5"),
    )


def test_failed_debits_are_tried_again_after_one_three_and_five_days():
    assert policy_on("2026-11-24").debit.retry_days == (1, 3, 5)


def test_the_pilot_is_open_from_9_june_2025_to_the_end_of_2027():
    policy_on("2025-06-09").programme.check_open()
    policy_on("2027-12-31").programme.check_open()
    with pytest.raises(ProgrammeNotInForce, match="尚未开始受理"):
        policy_on("2025-06-08").programme.check_open()
    with pytest.raises(ProgrammeNotInForce, match="不再受理"):
        policy_on("2028-01-01").programme.check_open()


def accessors() -> dict[str, tuple[type[Group], str]]:
    return {
        figure.name: (group, attribute)
        for group in Group.__subclasses__()
        for attribute, figure in vars(group).items()
        if isinstance(figure, Figure)
    }


def test_every_file_has_its_accessor_and_every_accessor_its_file():
    assert set(accessors()) == set(LINES)


@pytest.mark.parametrize("name", sorted(LINES))
def test_every_line_can_be_read_through_its_accessor(name):
    group, attribute = accessors()[name]
    for line in LINES[name]:
        policy = policy_on(line.effective_from.isoformat())
        figure = getattr(getattr(policy, group.__name__.lower()), attribute)
        leaves = {**figure}.values() if isinstance(figure, dict) else figure
        leaves = leaves if isinstance(figure, dict | tuple) else [figure]
        expected = {"ratio": Decimal, "factor": Decimal, "word": str, "month_day": str}
        assert {type(leaf) for leaf in leaves} == {expected.get(line.unit, int)}


def test_every_line_says_where_it_comes_from_and_how_firm_it_is():
    for history in LINES.values():
        for line in history:
            assert line.source
            assert line.status in set(PolicyStatus)


def test_no_two_lines_of_a_parameter_overlap():
    for history in LINES.values():
        for earlier, later in pairwise(history):
            assert earlier.effective_from < later.effective_from
            assert earlier.until is None or earlier.until < later.effective_from


def test_nothing_that_the_fund_decides_today_lacks_a_figure():
    """What has no figure on the day of the demo is history or superseded, by name."""
    day = policy_on("2026-11-24").programme.figures.day
    without = {name for name, history in LINES.items() if find_in_force(history, on=day) is None}
    assert without == {
        "interest.carried_over_rate",
        "interest.current_year_rate",
        "loan.second_home_rate_multiple",
    }
