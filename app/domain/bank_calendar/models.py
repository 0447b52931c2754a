"""The days that differ from the plain week (节假日与调休), as the State Council's notices name them."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import Date, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, Instant, enum_column


class DayKind(StrEnum):
    """HOLIDAY: nobody works, whatever the weekday. MAKE_UP_WORKDAY: a weekend day that is worked."""

    HOLIDAY = "holiday"
    MAKE_UP_WORKDAY = "make_up_workday"


class CalendarDay(Base):
    """One such day. A year of which no day is here has no data: every year has holidays."""

    __tablename__ = "calendar_day"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    kind: Mapped[DayKind] = mapped_column(enum_column(DayKind))
    title: Mapped[str] = mapped_column(String(32))
    """The festival to which it belongs."""
    source: Mapped[str] = mapped_column(String(200))
    """The notice."""
    imported_at: Mapped[datetime] = mapped_column(Instant)
