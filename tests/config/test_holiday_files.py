"""Holiday files: what the notices say, and every slip of the pen refused with its place."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from chinese_calendar import constants

from config.holiday_files import HolidayFileError, load_notices, parse_notice

GOOD = """
year: 2023
source: 国办发明电〔2022〕16号
festivals:
  元旦:
    first: 2022-12-31
    last: 2023-01-02
  春节:
    first: 2023-01-21
    last: 2023-01-27
    make_up_workdays: [2023-01-28, 2023-01-29]
"""


def refusal(text: str) -> str:
    with pytest.raises(HolidayFileError) as refused:
        parse_notice(text, where="2023.yaml")
    return str(refused.value)


def test_a_notice_may_begin_in_the_december_before() -> None:
    notice = parse_notice(GOOD, where="2023.yaml")
    assert (notice["year"], notice["source"]) == (2023, "国办发明电〔2022〕16号")
    days = [(day["day"], day["kind"]) for day in notice["days"]]
    assert days[:4] == [
        (date(2022, 12, 31), "holiday"),
        (date(2023, 1, 1), "holiday"),
        (date(2023, 1, 2), "holiday"),
        (date(2023, 1, 21), "holiday"),
    ]
    assert days[-2:] == [
        (date(2023, 1, 28), "make_up_workday"),
        (date(2023, 1, 29), "make_up_workday"),
    ]


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("year: 2023", "year: 23", "a year of this century is expected"),
        ("year: 2023", 'year: "2023"', "a year of this century is expected"),
        ("year: 2023", "year: 2024", "2022-12-31 is not in 2024"),
        ("source: 国办发明电〔2022〕16号", 'source: ""', "the notice with its number"),
        ("source: 国办发明电〔2022〕16号\n", "", "source is missing"),
        ("    last: 2023-01-02\n", "", "元旦: last is missing"),
        ("2023-01-02", "2023-01-32", "is not a day"),
        ("2023-01-02", "20230102", "is not a day"),
        ("2023-01-02", "2022-12-30", "are no days off in a row"),
        ("2023-01-02", "2023-02-02", "are no days off in a row"),
        ("first: 2023-01-21", "first: 2023-01-02", "are no days off in a row"),
        ("first: 2022-12-31", "first: 2022-12-24", "2022-12-24 is not in 2023"),
        ("2023-01-29]", "2023-01-30]", "2023-01-30 is no weekend day"),
        ("2023-01-29]", "2023-01-22]", "2023-01-22 stands twice"),
        ("2023-01-29]", "2024-01-28]", "2024-01-28 is not in 2023"),
        ("[2023-01-28, 2023-01-29]", "2023-01-28", "a list of days is expected"),
        ("make_up_workdays", "make_up", "make_up has no meaning here"),
        ("  春节:", "  元旦:", "'元旦' stands twice"),
    ],
)
def test_a_slip_of_the_pen_is_refused(good: str, bad: str, words: str) -> None:
    assert GOOD.count(good) == 1
    with pytest.raises(HolidayFileError, match=words):
        parse_notice(GOOD.replace(good, bad), where="2023.yaml")


def test_festivals_that_overlap_are_refused() -> None:
    text = GOOD.replace("first: 2023-01-21", "first: 2023-01-15").replace(
        "last: 2023-01-02", "last: 2023-01-15"
    )
    assert refusal(text) == "2023.yaml: 春节: 2023-01-15 stands twice"


@pytest.mark.parametrize("text", ["", "[]", "year: 2023", GOOD.partition("festivals")[0]])
def test_half_a_file_is_refused(text: str) -> None:
    assert refusal(text).startswith("2023.yaml: ")


def test_no_festival_is_refused() -> None:
    text = GOOD.partition("festivals")[0] + "festivals: {}"
    assert "at least one festival" in refusal(text)


def test_a_file_is_named_after_its_year(tmp_path: Path) -> None:
    (tmp_path / "2024.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(HolidayFileError, match=r"2024\.yaml: the file of a year is named"):
        load_notices(tmp_path)


@pytest.mark.parametrize("notice", load_notices(), ids=lambda notice: str(notice["year"]))
def test_the_products_files_agree_with_an_independent_source(notice) -> None:
    def ours(kind: str) -> set[date]:
        return {day["day"] for day in notice["days"] if day["kind"] == kind}

    assert ours("holiday") == {d for d in constants.holidays if d.year == notice["year"]}
    assert ours("make_up_workday") == {d for d in constants.workdays if d.year == notice["year"]}
