"""Taking in a year's notice. What is over stays as it was known when it mattered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from app.domain.bank_calendar.models import CalendarDay
from app.domain.bank_calendar.rules import DayKind, NoticeDay
from app.domain.base import table_of
from app.domain.calendar import business_day
from app.domain.errors import Conflict
from app.domain.ports import Ports

CALENDAR_DAY = table_of(CalendarDay)


class PastDayFixed(Conflict):
    """A day that is over can't become another kind of day: retries were counted by it."""

    code = "past_day_fixed"


class DayOfAnotherNotice(Conflict):
    """Two years' notices arrange the same day."""

    code = "day_of_another_notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import changed; `changed` are days that were of another kind, title or source."""

    added: tuple[date, ...]
    changed: tuple[date, ...]
    removed: tuple[date, ...]
    unchanged: int


def import_notice(
    ports: Ports, *, year: int, source: str, days: Sequence[NoticeDay]
) -> ImportReport:
    """Make the table say what the notice of `year` says; all or nothing, a second time nothing.

    A year that is not known yet is taken in as a whole, its past days too. A known one may
    change from today on.

    Raises:
        PastDayFixed: the notice differs from the table about a day that is over.
        DayOfAnotherNotice: another year's notice arranges one of these days.
    """
    return ports.transact(
        lambda session: _import(session, year=year, source=source, days=days, now=ports.now())
    )


def _import(
    session: Session, *, year: int, source: str, days: Sequence[NoticeDay], now: datetime
) -> ImportReport:
    today = business_day(now)
    wanted = {day.day: (day.kind, day.title, source) for day in days}
    mine = CALENDAR_DAY.c.notice_year == year
    rows = session.execute(
        select(CALENDAR_DAY).where(mine | CALENDAR_DAY.c.day.in_(wanted)).with_for_update()
    ).all()
    for row in rows:
        if row.notice_year != year:
            raise DayOfAnotherNotice(
                f"{row.day} 已由 {row.notice_year} 年的通知规定，未导入任何内容"
            )
    known = {row.day: (row.kind, row.title, row.source) for row in rows}
    added = tuple(sorted(wanted.keys() - known.keys()))
    removed = tuple(sorted(known.keys() - wanted.keys()))
    changed = tuple(
        day
        for day in sorted(wanted.keys() & known.keys())
        # Better words for a day that is over are no reason to refuse the rest, nor to write.
        if wanted[day] != known[day] and (day >= today or wanted[day][0] is not known[day][0])
    )
    if known:
        _refuse_past({*added, *changed, *removed}, known, wanted, today=today)
    if removed:
        session.execute(delete(CALENDAR_DAY).where(CALENDAR_DAY.c.day.in_(removed)))
    for day in changed:
        kind, title, _ = wanted[day]
        session.execute(
            update(CALENDAR_DAY)
            .where(CALENDAR_DAY.c.day == day)
            .values(kind=kind, title=title, source=source, imported_at=now)
        )
    if added:
        fixed = {"notice_year": year, "source": source, "imported_at": now}
        new = [{**asdict(day), **fixed} for day in days if day.day in set(added)]
        session.execute(insert(CALENDAR_DAY), new)
    return ImportReport(
        added=added,
        changed=changed,
        removed=removed,
        unchanged=len(wanted) - len(added) - len(changed),
    )


def _refuse_past(
    differing: set[date],
    known: dict[date, tuple[DayKind, str, str]],
    wanted: dict[date, tuple[DayKind, str, str]],
    *,
    today: date,
) -> None:
    for day in sorted(differing):
        if day < today:
            raise PastDayFixed(
                f"{day} 已过，库中为{_words(known.get(day))}，通知文件为{_words(wanted.get(day))}；"
                "已过的日期不可更改，未导入任何内容",
                day=day.isoformat(),
            )


def _words(line: tuple[DayKind, str, str] | None) -> str:
    if line is None:
        return "普通日"
    kind, title, source = line
    return f"{title}{'放假' if kind is DayKind.HOLIDAY else '调休上班'}（{source}）"
