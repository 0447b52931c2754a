"""Reading the bank calendar."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date
from functools import cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.bank_calendar.models import CalendarDay
from app.domain.bank_calendar.rules import BankCalendar
from app.domain.policy.queries import Policy

MAKE_UP_DAYS_COUNT = {"make_up_days_count": True, "make_up_days_do_not_count": False}

log = logging.getLogger(__name__)


def read_bank_calendar(session: Session, *, on: date) -> BankCalendar:
    """Return the calendar as it is known now.

    Args:
        on: the day whose policy says whether make-up workdays are bank days.
    """
    days = {row.day: row.kind for row in session.execute(select(CalendarDay.day, CalendarDay.kind))}
    return BankCalendar(
        days=days,
        years=list_years(session),
        make_up_days_count=MAKE_UP_DAYS_COUNT[Policy.on(session, on).debit.bank_days],
        on_year_without_data=_warn_of,
    )


def list_years(session: Session) -> frozenset[int]:
    """Return the years of which the notice is known."""
    return frozenset(session.scalars(select(CalendarDay.notice_year).distinct()))


def list_days(session: Session, *, year: int) -> Sequence[CalendarDay]:
    """Return the days of one year's notice, in order."""
    return session.scalars(
        select(CalendarDay).where(CalendarDay.notice_year == year).order_by(CalendarDay.day)
    ).all()


@cache  # once a process: a debit day asks a hundred thousand times
def _warn_of(year: int) -> None:
    log.warning("no holidays known, only weekends are left out", extra={"year": year})
