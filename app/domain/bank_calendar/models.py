"""The days that differ from the plain week (节假日与调休), as the State Council's notices say."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Date, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.bank_calendar.rules import DayKind
from app.domain.base import Base, Instant, enum_column


class CalendarDay(Base):
    """One such day."""

    __tablename__ = "calendar_day"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    kind: Mapped[DayKind] = mapped_column(enum_column(DayKind))
    title: Mapped[str] = mapped_column(String(32))
    """The festival to which it belongs."""
    notice_year: Mapped[int] = mapped_column(SmallInteger)
    """The year that the notice arranges; its first days may lie in the December before."""
    source: Mapped[str] = mapped_column(String(200))
    """The notice."""
    imported_at: Mapped[datetime] = mapped_column(Instant)
