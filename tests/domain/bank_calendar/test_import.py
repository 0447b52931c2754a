"""Importing a year's notice: once, changed while there is time, never about a day that is over."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime

import pytest

from app.domain.bank_calendar import queries
from app.domain.bank_calendar.operations import (
    DayOfAnotherNotice,
    ImportReport,
    PastDayFixed,
    import_notice,
)
from app.domain.bank_calendar.queries import list_days, list_years, read_bank_calendar
from app.domain.bank_calendar.rules import BankCalendar, DayKind, NoticeDay
from app.domain.ports import Ports
from tests.conftest import NOTICES, MovableClock

TODAY = date(2026, 11, 24)
NOTICE = "国办发明电〔2026〕0号"


def off(*days: date, title: str = "元旦") -> list[NoticeDay]:
    return [NoticeDay(day=day, kind=DayKind.HOLIDAY, title=title) for day in days]


def bank_calendar(ports: Ports) -> BankCalendar:
    return ports.read(lambda session: read_bank_calendar(session, on=TODAY))


def of_2026() -> list[NoticeDay]:
    """What the table holds of 2026."""
    return [
        NoticeDay(day=day["day"], kind=DayKind(day["kind"]), title=day["title"])
        for day in NOTICES[1]["days"]
    ]


def test_the_products_calendar_is_read(ports: Ports) -> None:
    calendar = bank_calendar(ports)
    assert calendar.make_up_days_count
    assert calendar.years == {2025, 2026}
    assert not calendar.is_bank_day(date(2026, 10, 1))
    assert calendar.is_bank_day(date(2026, 10, 10))


def test_the_same_notice_again_changes_nothing(ports: Ports) -> None:
    # 33 days off and 6 made up.
    assert import_notice(
        ports, year=2026, source=NOTICES[1]["source"], days=of_2026()
    ) == ImportReport(added=(), changed=(), removed=(), unchanged=39)


def test_the_next_year_is_known_once_its_notice_is_imported(ports: Ports) -> None:
    days = off(date(2026, 12, 31), date(2027, 1, 1), date(2027, 1, 2))
    report = import_notice(ports, year=2027, source=NOTICE, days=days)
    assert report.added == (date(2026, 12, 31), date(2027, 1, 1), date(2027, 1, 2))
    calendar = bank_calendar(ports)
    assert calendar.next_bank_day(date(2026, 12, 30)) == date(2027, 1, 4)
    # The old year's notice again leaves the new one's day of December alone.
    import_notice(ports, year=2026, source=NOTICES[1]["source"], days=of_2026())
    assert bank_calendar(ports) == calendar


def test_a_year_that_is_not_known_is_taken_in_with_its_past(ports: Ports) -> None:
    report = import_notice(ports, year=2024, source=NOTICE, days=off(date(2024, 1, 1)))
    assert report.added == (date(2024, 1, 1),)


def test_what_is_ahead_may_change(ports: Ports) -> None:
    days = [*off(date(2027, 1, 1)), *off(date(2027, 2, 6), title="春节")]
    import_notice(ports, year=2027, source=NOTICE, days=days)
    made_up = NoticeDay(day=date(2027, 2, 6), kind=DayKind.MAKE_UP_WORKDAY, title="春节")
    report = import_notice(ports, year=2027, source=NOTICE, days=[made_up])
    assert report == ImportReport(
        added=(), changed=(date(2027, 2, 6),), removed=(date(2027, 1, 1),), unchanged=0
    )
    stored = ports.read(lambda session: list_days(session, year=2027))
    assert [(day.day, day.kind) for day in stored] == [(date(2027, 2, 6), DayKind.MAKE_UP_WORKDAY)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda days: days[1:], "2026-01-01 已过，库中为元旦放假"),
        (
            lambda days: [*days, *off(date(2026, 11, 23), title="演练")],
            "2026-11-23 已过，库中为普通日，通知文件为演练放假",
        ),
        (
            lambda days: [
                NoticeDay(day=days[0].day, kind=DayKind.MAKE_UP_WORKDAY, title="元旦"),
                *days[1:],
            ],
            "通知文件为元旦调休上班",
        ),
    ],
)
def test_a_day_that_is_over_stays_what_it_was(ports: Ports, change, words: str) -> None:
    before = bank_calendar(ports)
    with pytest.raises(PastDayFixed, match=words):
        import_notice(ports, year=2026, source=NOTICES[1]["source"], days=change(of_2026()))
    assert bank_calendar(ports) == before


def test_today_may_still_change_yesterday_not(ports: Ports, clock: MovableClock) -> None:
    today = off(TODAY, title="演练")
    # 23:59 in Shanghai: the day is not over.
    clock.instant = datetime(2026, 11, 24, 15, 59, tzinfo=UTC)
    import_notice(ports, year=2026, source=NOTICES[1]["source"], days=[*of_2026(), *today])
    clock.instant = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)
    with pytest.raises(PastDayFixed):
        import_notice(ports, year=2026, source=NOTICES[1]["source"], days=of_2026())


def test_better_words_for_the_past_are_no_reason_to_refuse(ports: Ports) -> None:
    report = import_notice(ports, year=2026, source="另一种写法", days=of_2026())
    assert report == ImportReport(added=(), changed=(), removed=(), unchanged=39)


def test_two_notices_can_not_arrange_one_day(ports: Ports) -> None:
    with pytest.raises(DayOfAnotherNotice, match="2026-10-01 已由 2026 年的通知规定"):
        import_notice(
            ports, year=2027, source=NOTICE, days=off(date(2026, 10, 1), date(2027, 1, 1))
        )
    assert ports.read(list_years) == {2025, 2026}


def test_a_year_without_data_is_logged_once(ports: Ports, caplog: pytest.LogCaptureFixture) -> None:
    queries._warn_of.cache_clear()
    for _ in range(2):
        calendar = bank_calendar(ports)
        assert calendar.is_bank_day(date(2027, 10, 1))
        assert not calendar.is_bank_day(date(2027, 10, 2))
    (record,) = [r for r in caplog.records if r.name == queries.__name__]
    assert (record.levelno, record.year) == (logging.WARNING, 2027)  # type: ignore[attr-defined]
