"""Reads `holidays/<year>.yaml`: a year's notice on holidays and make-up workdays, line by line.

    year: 2026
    source: 国务院办公厅关于2026年部分节假日安排的通知（国办发明电〔2025〕7号）
    festivals:
      春节:
        first: 2026-02-15
        last: 2026-02-23
        make_up_workdays: [2026-02-14, 2026-02-28]

`first` and `last` are the days off, weekends among them; `make_up_workdays` the weekend days that
are worked instead. New Year's days off may begin in the December before. A file that breaks a rule
is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TypedDict, cast

from config.strict_yaml import StrictYamlError, load_strict

HOLIDAY_FOLDER = Path(__file__).resolve().parent / "holidays"

YEARS = range(2000, 2100)
DAYS_OFF_MAX = 16
"""More in a row was never arranged: a slip of the pen."""
SATURDAY = 5


class HolidayFileError(ValueError):
    """A file that cannot be trusted: nothing of it may be imported."""


class Day(TypedDict):
    """One day that differs from the plain week; `kind` is `holiday` or `make_up_workday`."""

    day: date
    kind: str
    title: str


class Notice(TypedDict):
    """A year's notice, as plain data; `days` are in order."""

    year: int
    source: str
    days: list[Day]


def parse_notice(text: str, *, where: str) -> Notice:
    """Read the text of one file.

    Args:
        where: the name of the file, for the error.
    Raises:
        HolidayFileError: with the file and what is wrong in it.
    """
    try:
        top = _mapping(load_strict(text, where=where), {"year", "source", "festivals"}, where=where)
    except StrictYamlError as error:
        raise HolidayFileError(str(error)) from error
    year, source, festivals = top["year"], top["source"], top["festivals"]
    if type(year) is not int or year not in YEARS:
        raise HolidayFileError(f"{where}: year: a year of this century is expected")
    if not isinstance(source, str) or not source.strip():
        raise HolidayFileError(f"{where}: source: the notice with its number is expected")
    if not isinstance(festivals, dict) or not festivals:
        raise HolidayFileError(f"{where}: festivals: at least one festival is expected")
    days: dict[date, Day] = {}
    for title, festival in festivals.items():
        here = f"{where}: {title}"
        if not isinstance(title, str):
            raise HolidayFileError(f"{here}: the name of a festival is expected")
        for day in _festival(title, festival, where=here):
            if not date(year - 1, 12, 25) <= day["day"] <= date(year, 12, 31):
                raise HolidayFileError(f"{here}: {day['day']} is not in {year}")
            if day["day"] in days:
                raise HolidayFileError(f"{here}: {day['day']} stands twice")
            days[day["day"]] = day
    return Notice(year=year, source=source.strip(), days=[days[day] for day in sorted(days)])


def load_notice(path: Path) -> Notice:
    """Read one file.

    Raises:
        HolidayFileError: it cannot be read or is refused.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HolidayFileError(f"{path.name}: {error}") from error
    return parse_notice(text, where=path.name)


def load_notices(folder: Path = HOLIDAY_FOLDER) -> list[Notice]:
    """Read every file of the folder, in the order of their years.

    Raises:
        HolidayFileError: a file cannot be read, is refused or is not named after its year.
    """
    notices = []
    for path in sorted(folder.glob("*.yaml")):
        notice = load_notice(path)
        if path.stem != str(notice["year"]):
            raise HolidayFileError(f"{path.name}: the file of a year is named <year>.yaml")
        notices.append(notice)
    return notices


def _festival(title: str, festival: object, *, where: str) -> Iterator[Day]:
    fields = _mapping(festival, {"first", "last"}, {"make_up_workdays"}, where=where)
    first, last = (_day(fields[key], where=f"{where}: {key}") for key in ("first", "last"))
    count = (last - first).days + 1
    if not 1 <= count <= DAYS_OFF_MAX:
        raise HolidayFileError(f"{where}: {first} to {last} are no days off in a row")
    for number in range(count):
        yield Day(day=first + timedelta(days=number), kind="holiday", title=title)
    make_up = fields.get("make_up_workdays", [])
    if not isinstance(make_up, list):
        raise HolidayFileError(f"{where}: make_up_workdays: a list of days is expected")
    for value in make_up:
        day = _day(value, where=f"{where}: make_up_workdays")
        if day.weekday() < SATURDAY:
            raise HolidayFileError(f"{where}: {day} is no weekend day, it is worked anyhow")
        yield Day(day=day, kind="make_up_workday", title=title)


def _day(value: object, *, where: str) -> date:
    if not isinstance(value, date):
        raise HolidayFileError(f"{where}: {value!r} is not a day")
    return value


def _mapping(
    value: object, keys: set[str], optional: frozenset[str] | set[str] = frozenset(), *, where: str
) -> dict[str, object]:
    if not isinstance(value, dict):
        raise HolidayFileError(f"{where}: a mapping is expected")
    if missing := keys - value.keys():
        raise HolidayFileError(f"{where}: {', '.join(sorted(missing))} is missing")
    if more := value.keys() - keys - optional:
        raise HolidayFileError(f"{where}: {', '.join(sorted(map(str, more)))} has no meaning here")
    return cast("dict[str, object]", value)
