"""Contribution periods (缴存期): a month ``2026-12`` or a quarter ``2026Q4``. Pure.

A period's debit falls in its first month, so that a quarter is paid at its beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta

MONTHS_IN_QUARTER = 3

_WRITTEN = re.compile(r"(20[0-9]{2})(?:-(0[1-9]|1[0-2])|Q([1-4]))")


@dataclass(frozen=True, slots=True)
class Period:
    """One month or one quarter: its first month, and how many months it covers."""

    year: int
    month: int
    length: int

    @classmethod
    def parse(cls, written: str) -> Period:
        """Read ``2026-12`` or ``2026Q4``.

        Raises:
            ValueError: it is neither.
        """
        found = _WRITTEN.fullmatch(written)
        if found is None:
            raise ValueError(f"{written!r} is no period")
        year, month, quarter = found.groups()
        if quarter is None:
            return cls(int(year), int(month), 1)
        return cls(int(year), (int(quarter) - 1) * MONTHS_IN_QUARTER + 1, MONTHS_IN_QUARTER)

    @classmethod
    def month_of(cls, day: date) -> Period:
        """Return the month of a day."""
        return cls(day.year, day.month, 1)

    @classmethod
    def quarter_of(cls, day: date) -> Period:
        """Return the quarter of a day."""
        first = (day.month - 1) // MONTHS_IN_QUARTER * MONTHS_IN_QUARTER + 1
        return cls(day.year, first, MONTHS_IN_QUARTER)

    @property
    def key(self) -> str:
        """The period as it is written and stored."""
        if self.length == 1:
            return f"{self.year:04d}-{self.month:02d}"
        return f"{self.year:04d}Q{(self.month - 1) // MONTHS_IN_QUARTER + 1}"

    @property
    def months(self) -> tuple[str, ...]:
        """The contribution months that it covers, e.g. ``("2026-10", "2026-11", "2026-12")``."""
        return tuple(f"{self.year:04d}-{self.month + n:02d}" for n in range(self.length))

    @property
    def first_day(self) -> date:
        """The day on which it begins."""
        return date(self.year, self.month, 1)

    @property
    def last_day(self) -> date:
        """The day on which it ends."""
        return self.next().first_day - timedelta(days=1)

    def next(self) -> Period:
        """Return the period after it, of the same length."""
        after = self.month + self.length
        if after > 12:
            return Period(self.year + 1, after - 12, self.length)
        return Period(self.year, after, self.length)

    def due_on(self, debit_day: int) -> date:
        """Return the day of its debit (扣款日), 1–28 of its first month."""
        return date(self.year, self.month, debit_day)


def add_months(first_of_month: date, months: int) -> date:
    """Return the first day of the month so many months later."""
    counted = first_of_month.year * 12 + first_of_month.month - 1 + months
    return date(counted // 12, counted % 12 + 1, 1)
