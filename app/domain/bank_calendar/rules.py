"""Bank days (银行工作日), counted from the days that differ from the plain week. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

SATURDAY = 5
_DAY = timedelta(days=1)


class DayKind(StrEnum):
    """HOLIDAY: nobody works, whatever the weekday. MAKE_UP_WORKDAY: a weekend day on duty."""

    HOLIDAY = "holiday"
    MAKE_UP_WORKDAY = "make_up_workday"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeDay:
    """One day of a notice, with the festival to which it belongs."""

    day: date
    kind: DayKind
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BankCalendar:
    """Which days are bank days.

    In a year without data the weekdays are bank days and the weekend is not: provisional, and
    wrong around every festival.

    Attributes:
        days: the days that differ from the plain week.
        years: those of which the notice is known.
        make_up_days_count: whether a make-up workday (调休上班日) is a bank day.
        on_year_without_data: told the year whenever a day of it is asked about.
    """

    days: Mapping[date, DayKind]
    years: frozenset[int]
    make_up_days_count: bool
    on_year_without_data: Callable[[int], object] = field(default=lambda _year: None, repr=False)

    def is_bank_day(self, day: date) -> bool:
        """Tell whether the bank settles on `day`."""
        if day.year not in self.years:
            self.on_year_without_data(day.year)
        kind = self.days.get(day)
        if kind is DayKind.HOLIDAY:
            return False
        if kind is DayKind.MAKE_UP_WORKDAY:
            return self.make_up_days_count
        return day.weekday() < SATURDAY

    def roll_forward(self, day: date) -> date:
        """Return `day` itself if it is a bank day, otherwise the first one after it."""
        while not self.is_bank_day(day):
            day += _DAY
        return day

    def roll_back(self, day: date) -> date:
        """Return `day` itself if it is a bank day, otherwise the last one before it."""
        while not self.is_bank_day(day):
            day -= _DAY
        return day

    def next_bank_day(self, day: date) -> date:
        """Return the first bank day after `day`, whether or not `day` is one."""
        return self.roll_forward(day + _DAY)

    def nth_bank_day_after(self, day: date, count: int) -> date:
        """Return the bank day that is `count` bank days after `day` (T+count); at least 1.

        Raises:
            ValueError: `count` is less than 1.
        """
        if count < 1:
            raise ValueError(f"{count} bank days after a day is no later day")
        for _ in range(count):
            day = self.next_bank_day(day)
        return day


def covered_through(years: frozenset[int], *, today: date) -> date | None:
    """Return the last day up to which there is data without a gap; None: not even for today."""
    year = today.year
    if year not in years:
        return None
    while year + 1 in years:
        year += 1
    return date(year, 12, 31)
