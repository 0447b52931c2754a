"""`flask calendar`: the holidays and make-up workdays from which bank days are counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

import click
from chinese_calendar import Holiday, constants
from flask.cli import AppGroup

from app.commands import current_ports
from app.domain.bank_calendar.operations import import_notice
from app.domain.bank_calendar.queries import list_days, list_years
from app.domain.bank_calendar.rules import DayKind, NoticeDay, covered_through
from app.domain.calendar import business_day
from app.domain.errors import FundError
from config.holiday_files import HolidayFileError, Notice, load_notice, load_notices

calendar = AppGroup("calendar", help="银行日历：导入节假日通知、查看、起草。")

WEEKDAYS = "一二三四五六日"
KIND_WORDS = {DayKind.HOLIDAY: "放假", DayKind.MAKE_UP_WORKDAY: "调休上班"}


@calendar.command("import")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_command(files: tuple[Path, ...]) -> None:
    """Take in the notices of these FILES (config/holidays without any); past days can't change."""
    ports = current_ports()
    try:
        notices = [load_notice(file) for file in files] or load_notices()
    except HolidayFileError as error:
        raise click.ClickException(f"节假日文件有误：{error}") from None
    for notice in notices:
        try:
            report = import_notice(
                ports, year=notice["year"], source=notice["source"], days=_days_of(notice)
            )
        except FundError as error:
            raise click.ClickException(error.message) from None
        click.echo(
            f"{notice['year']} 年：新增 {len(report.added)} 日，更改 {len(report.changed)} 日，"
            f"取消 {len(report.removed)} 日，{report.unchanged} 日未变"
        )
        for words, days in (("更改", report.changed), ("取消", report.removed)):
            for day in days:
                click.echo(f"  {words} {day}")
    through = covered_through(ports.read(list_years), today=business_day(ports.now()))
    if through is not None:
        click.echo(f"银行日历已录入至 {through}")


@calendar.command("show")
@click.argument("year", type=click.IntRange(2000, 2099))
def show_command(year: int) -> None:
    """Print the days of a year that differ from the plain week; exit 1 if none is known."""
    days = current_ports().read(lambda session: list_days(session, year=year))
    if not days:
        raise click.ClickException(f"{year} 年的节假日尚未录入，暂按周末推算")
    for day in days:
        weekday = WEEKDAYS[day.day.weekday()]
        click.echo(f"{day.day} 周{weekday} {KIND_WORDS[day.kind]} {day.title}")
    for source in sorted({day.source for day in days}):
        click.echo(f"依据：{source}")


@calendar.command("draft")
@click.argument("year", type=click.IntRange(2000, 2099))
def draft_command(year: int) -> None:
    """Print a file for a YEAR that the library chinesecalendar knows, to be compared by hand."""
    festivals = list(_festivals_of(year))
    if not festivals:
        raise click.ClickException(
            f"已安装的 chinesecalendar 没有 {year} 年的数据，请按国务院办公厅的通知编写文件"
        )
    click.echo(f"year: {year}\nsource: 待填写（国办发明电…）\nfestivals:")
    for title, days, make_up in festivals:
        click.echo(f"  {title}:\n    first: {days[0]}\n    last: {days[-1]}")
        if make_up:
            click.echo(f"    make_up_workdays: [{', '.join(map(str, make_up))}]")


def _days_of(notice: Notice) -> list[NoticeDay]:
    return [
        NoticeDay(day=day["day"], kind=DayKind(day["kind"]), title=day["title"])
        for day in notice["days"]
    ]


def _festivals_of(year: int) -> Iterator[tuple[str, list[date], list[date]]]:
    """Yield the festivals of a year's notice: title, days off in a row, make-up workdays."""
    start = date(2000, 1, 1)
    days = sorted(constants.holidays)
    runs = [
        [day for _, day in run]
        for _, run in groupby(enumerate(days), lambda pair: (pair[1] - start).days - pair[0])
    ]
    for run in runs:
        if run[-1].year != year:
            continue
        names = dict.fromkeys(constants.holidays[day] for day in run)
        near = (run[0] - timedelta(days=30), run[-1] + timedelta(days=30))
        make_up = [
            day
            for day, name in sorted(constants.workdays.items())
            if name in names and near[0] <= day <= near[1]
        ]
        yield "、".join(Holiday(name).chinese for name in names), run, make_up
