"""Bank days, counted: around festivals, at the ends of years, and without data."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from app.domain.bank_calendar.rules import BankCalendar, DayKind, covered_through
from tests.conftest import NOTICES

DAYS = {day["day"]: DayKind(day["kind"]) for notice in NOTICES for day in notice["days"]}
CALENDAR = BankCalendar(days=DAYS, years=frozenset({2025, 2026}), make_up_days_count=True)
WITHOUT_MAKE_UP = BankCalendar(days=DAYS, years=frozenset({2025, 2026}), make_up_days_count=False)


def september_to_october(calendar: BankCalendar) -> str:
    """The days from 18 September to 12 October 2026: W for a bank day."""
    days = [date(2026, 9, 18) + timedelta(days=number) for number in range(25)]
    return "".join("W" if calendar.is_bank_day(day) else "." for day in days)


def test_national_day_2026_with_its_make_up_days() -> None:
    # Fri 18, Sat 19, Sun 20 (made up), Mon 21 – Thu 24, Fri 25 – Sun 27 Mid-Autumn,
    # Mon 28 – Wed 30, Thu 1 – Wed 7 National Day, Thu 8, Fri 9, Sat 10 (made up), Sun 11, Mon 12.
    assert september_to_october(CALENDAR) == "W.WWWWW...WWW.......WWW.W"
    assert september_to_october(WITHOUT_MAKE_UP) == "W..WWWW...WWW.......WW..W"


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 1, 1), False),  # Thursday, New Year
        (date(2026, 1, 4), True),  # Sunday, made up
        (date(2026, 2, 14), True),  # Saturday before Spring Festival, made up
        (date(2026, 2, 15), False),
        (date(2026, 2, 23), False),  # the Monday off in lieu
        (date(2026, 2, 24), True),
        (date(2026, 2, 28), True),  # Saturday, made up
        (date(2026, 5, 9), True),
        (date(2026, 10, 3), False),  # Saturday and holiday
        (date(2026, 11, 21), False),  # a plain Saturday
        (date(2026, 12, 31), True),
        (date(2025, 10, 6), False),  # Mid-Autumn within National Day
    ],
)
def test_single_days(day: date, expected: bool) -> None:
    assert CALENDAR.is_bank_day(day) is expected


def test_retries_are_counted_across_the_spring_festival() -> None:
    friday = date(2026, 2, 13)
    # Sat 14 made up, 15–23 off, then Tue 24, Wed 25, Thu 26, Fri 27.
    assert [CALENDAR.nth_bank_day_after(friday, count) for count in (1, 3, 5)] == [
        date(2026, 2, 14),
        date(2026, 2, 25),
        date(2026, 2, 27),
    ]
    assert [WITHOUT_MAKE_UP.nth_bank_day_after(friday, count) for count in (1, 3, 5)] == [
        date(2026, 2, 24),
        date(2026, 2, 26),
        date(2026, 3, 2),
    ]


def test_counting_from_a_holiday_begins_with_the_first_bank_day_after_it() -> None:
    assert CALENDAR.next_bank_day(date(2026, 10, 3)) == date(2026, 10, 8)
    assert CALENDAR.nth_bank_day_after(date(2026, 10, 3), 1) == date(2026, 10, 8)
    assert CALENDAR.nth_bank_day_after(date(2026, 10, 3), 2) == date(2026, 10, 9)


def test_rolling_leaves_a_bank_day_where_it_is() -> None:
    assert CALENDAR.roll_forward(date(2026, 9, 30)) == date(2026, 9, 30)
    assert CALENDAR.roll_back(date(2026, 9, 30)) == date(2026, 9, 30)
    assert CALENDAR.next_bank_day(date(2026, 9, 30)) == date(2026, 10, 8)
    assert CALENDAR.roll_forward(date(2026, 10, 1)) == date(2026, 10, 8)
    assert CALENDAR.roll_back(date(2026, 10, 7)) == date(2026, 9, 30)


def test_over_the_end_of_the_year_the_new_notice_counts() -> None:
    assert CALENDAR.next_bank_day(date(2025, 12, 31)) == date(2026, 1, 4)
    assert CALENDAR.roll_back(date(2026, 1, 3)) == date(2025, 12, 31)


def test_over_the_end_of_what_is_known_weekdays_count_and_it_is_said() -> None:
    asked: list[int] = []
    calendar = BankCalendar(
        days=DAYS,
        years=frozenset({2026}),
        make_up_days_count=True,
        on_year_without_data=asked.append,
    )
    assert calendar.next_bank_day(date(2026, 12, 30)) == date(2026, 12, 31)
    assert asked == []
    # Friday 1 January 2027 is a holiday that nobody has told us of.
    assert calendar.next_bank_day(date(2026, 12, 31)) == date(2027, 1, 1)
    assert calendar.next_bank_day(date(2027, 1, 1)) == date(2027, 1, 4)
    assert asked == [2027, 2027, 2027, 2027]


@pytest.mark.parametrize("count", [0, -1])
def test_no_bank_days_after_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="no later day"):
        CALENDAR.nth_bank_day_after(date(2026, 11, 24), count)


@pytest.mark.parametrize(
    ("years", "through"),
    [
        ({2025, 2026}, date(2026, 12, 31)),
        ({2026, 2027, 2028}, date(2028, 12, 31)),
        ({2026, 2028}, date(2026, 12, 31)),
        ({2025, 2027}, None),
        (set(), None),
    ],
)
def test_coverage_ends_at_the_first_gap(years: set[int], through: date | None) -> None:
    assert covered_through(frozenset(years), today=date(2026, 11, 24)) == through
