"""The fund's days are Shanghai's, its instants are UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from app.domain.calendar import (
    business_day,
    day_bounds,
    full_years,
    local_iso,
    month_bounds,
    month_of,
)


def test_the_day_turns_at_four_in_the_afternoon_utc() -> None:
    assert business_day(datetime(2026, 12, 31, 15, 59, 59, 999_999, UTC)) == date(2026, 12, 31)
    assert business_day(datetime(2026, 12, 31, 16, 0, tzinfo=UTC)) == date(2027, 1, 1)


def test_a_day_does_not_depend_on_the_zone_in_which_its_instant_is_written() -> None:
    west = timezone(timedelta(hours=-10))
    assert business_day(datetime(2026, 12, 31, 6, 0, tzinfo=west)) == date(2027, 1, 1)


def test_a_day_begins_and_ends_at_shanghais_midnight() -> None:
    begins, ends = day_bounds(date(2026, 11, 24))
    assert begins == datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
    assert ends == datetime(2026, 11, 24, 16, 0, tzinfo=UTC)


def test_months_are_written_with_year_and_two_digits() -> None:
    assert month_of(date(2026, 1, 31)) == "2026-01"
    assert month_of(date(2026, 12, 1)) == "2026-12"


@pytest.mark.parametrize(
    ("month", "first", "last"),
    [
        ("2026-01", date(2026, 1, 1), date(2026, 1, 31)),
        ("2026-02", date(2026, 2, 1), date(2026, 2, 28)),
        ("2028-02", date(2028, 2, 1), date(2028, 2, 29)),
        ("2026-12", date(2026, 12, 1), date(2026, 12, 31)),
    ],
)
def test_a_month_has_its_first_and_last_day(month: str, first: date, last: date) -> None:
    assert month_bounds(month) == (first, last)


@pytest.mark.parametrize("month", ["2026-13", "2026-0", "2026", "", "november"])
def test_what_is_not_a_month_is_refused(month: str) -> None:
    with pytest.raises(ValueError):
        month_bounds(month)


def test_instants_are_shown_in_shanghai_time() -> None:
    shown = local_iso(datetime(2026, 11, 24, 2, 3, 4, 567_000, UTC))
    assert shown == "2026-11-24T10:03:04+08:00"


@pytest.mark.parametrize(
    ("born", "on", "years"),
    [
        (date(2010, 11, 24), date(2026, 11, 23), 15),
        (date(2010, 11, 24), date(2026, 11, 24), 16),
        (date(2008, 2, 29), date(2024, 2, 28), 15),
        (date(2008, 2, 29), date(2024, 2, 29), 16),
        (date(2007, 2, 28), date(2023, 2, 28), 16),
        (date(2008, 2, 29), date(2026, 2, 28), 17),
        (date(2008, 2, 29), date(2026, 3, 1), 18),
    ],
)
def test_full_years_are_those_completed_on_the_day(born: date, on: date, years: int) -> None:
    assert full_years(born, on) == years
