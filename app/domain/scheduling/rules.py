"""Which days a daily job has to be done for, and how long the scheduler's lease lasts. Pure."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from app.domain.calendar import SHANGHAI

LEASE = timedelta(seconds=20)
"""A holder that has not renewed for so long has lost it to whoever asks first."""

RETRY_AFTER = timedelta(minutes=10)
"""How long a daily job that failed waits for its next try."""

RUNS_KEPT = timedelta(days=400)
"""A year's runs and a month, so that a yearly job can be looked up when it comes again."""


def last_due_day(now: datetime, *, at: time) -> date:
    """Return the last day for which a job of every day at `at` (Shanghai) is due."""
    local = now.astimezone(SHANGHAI)
    return local.date() - timedelta(days=local.timetz().replace(tzinfo=None) < at)


def days_to_do(now: datetime, *, at: time, done_through: date | None) -> list[date]:
    """Return the days that a daily job is due for and was not done for, oldest first.

    A job that was never done begins with the last due day: before it there was nothing.
    """
    last = last_due_day(now, at=at)
    first = last if done_through is None else done_through + timedelta(days=1)
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]
