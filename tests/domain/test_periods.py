"""Periods: months and quarters, what they cover, which follows, and when they are due."""

from __future__ import annotations

from datetime import date

import pytest

from app.domain.periods import Period, add_months


def test_a_month_and_a_quarter_are_written_and_read() -> None:
    assert Period.parse("2026-12") == Period(2026, 12, 1)
    assert Period.parse("2026Q4") == Period(2026, 10, 3)
    for key in ("2026-01", "2026-12", "2026Q1", "2026Q4"):
        assert Period.parse(key).key == key


@pytest.mark.parametrize(
    "written",
    ["", "2026", "2026-00", "2026-13", "2026-1", "2026Q0", "2026Q5", "2026q4", "2026-12-01"]
    + ["1999-12", "２０２６-12", " 2026-12", "2026-12\n"],
)
def test_nothing_else_is_a_period(written: str) -> None:
    with pytest.raises(ValueError):
        Period.parse(written)


def test_a_quarter_covers_its_three_months() -> None:
    quarter = Period.parse("2026Q4")
    assert quarter.months == ("2026-10", "2026-11", "2026-12")
    assert (quarter.first_day, quarter.last_day) == (date(2026, 10, 1), date(2026, 12, 31))
    assert Period.parse("2028-02").last_day == date(2028, 2, 29)


def test_the_next_period_crosses_the_year() -> None:
    assert Period.parse("2026-11").next().key == "2026-12"
    assert Period.parse("2026-12").next().key == "2027-01"
    assert Period.parse("2026Q3").next().key == "2026Q4"
    assert Period.parse("2026Q4").next().key == "2027Q1"


def test_a_day_lies_in_its_month_and_its_quarter() -> None:
    assert Period.month_of(date(2026, 12, 31)).key == "2026-12"
    assert Period.quarter_of(date(2026, 12, 31)).key == "2026Q4"
    assert Period.quarter_of(date(2027, 1, 1)).key == "2027Q1"
    assert Period.quarter_of(date(2026, 9, 30)).key == "2026Q3"


def test_a_quarter_is_due_in_its_first_month() -> None:
    assert Period.parse("2026-12").due_on(28) == date(2026, 12, 28)
    assert Period.parse("2026Q4").due_on(10) == date(2026, 10, 10)


def test_months_are_added_over_the_year() -> None:
    assert add_months(date(2026, 12, 1), 1) == date(2027, 1, 1)
    assert add_months(date(2026, 11, 1), 12) == date(2027, 11, 1)
    assert add_months(date(2026, 1, 1), 11) == date(2026, 12, 1)
