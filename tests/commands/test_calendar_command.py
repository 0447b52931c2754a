"""`flask calendar`: importing, showing and drafting a year's holidays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from app.commands.calendar import calendar
from app.domain.ports import Ports
from config.holiday_files import HOLIDAY_FOLDER


@pytest.fixture
def runner(ports: Ports) -> FlaskCliRunner:
    flask_app = Flask("test")
    flask_app.extensions["lianjiao"] = ports
    flask_app.cli.add_command(calendar)
    return flask_app.test_cli_runner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A copy of 2026's notice, to be changed."""
    return Path(shutil.copy(HOLIDAY_FOLDER / "2026.yaml", tmp_path))


def edit(path: Path, good: str, bad: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert good in text
    path.write_text(text.replace(good, bad), encoding="utf-8")


def test_import_without_a_file_takes_the_products_and_a_second_time_nothing(runner) -> None:
    result = runner.invoke(args=["calendar", "import"])
    assert result.exit_code == 0
    # 28 days off and 5 made up in 2025; 33 and 6 in 2026.
    assert result.stdout == (
        "2025 年：新增 0 日，更改 0 日，取消 0 日，33 日未变\n"
        "2026 年：新增 0 日，更改 0 日，取消 0 日，39 日未变\n"
        "银行日历已录入至 2026-12-31\n"
    )


def test_import_of_the_next_year(runner, tmp_path: Path) -> None:
    file = tmp_path / "2027.yaml"
    file.write_text(
        "year: 2027\nsource: 测试\nfestivals: {元旦: {first: 2027-01-01, last: 2027-01-03}}",
        encoding="utf-8",
    )
    result = runner.invoke(args=["calendar", "import", str(file)])
    assert result.stdout == (
        "2027 年：新增 3 日，更改 0 日，取消 0 日，0 日未变\n银行日历已录入至 2027-12-31\n"
    )
    edit(file, "2027-01-03", "2027-01-02")
    result = runner.invoke(args=["calendar", "import", str(file)])
    assert "取消 1 日，2 日未变\n  取消 2027-01-03\n" in result.stdout


def test_a_changed_past_is_refused(runner, file: Path) -> None:
    edit(file, "last: 2026-10-07", "last: 2026-10-08")
    result = runner.invoke(args=["calendar", "import", str(file)])
    assert result.exit_code == 1
    assert "2026-10-08 已过，库中为普通日，通知文件为国庆节放假" in result.stderr
    assert "2026-10-08" not in runner.invoke(args=["calendar", "show", "2026"]).stdout


def test_a_broken_file_is_refused_by_name_and_place(runner, file: Path) -> None:
    edit(file, "2026-05-09", "2026-05-08")
    result = runner.invoke(args=["calendar", "import", str(file)])
    assert result.exit_code == 1
    assert "节假日文件有误：2026.yaml: 劳动节: 2026-05-08 is no weekend day" in result.stderr


def test_show_prints_the_days_and_their_source(runner) -> None:
    lines = runner.invoke(args=["calendar", "show", "2026"]).stdout.splitlines()
    assert lines[0] == "2026-01-01 周四 放假 元旦"
    assert "2026-10-10 周六 调休上班 国庆节" in lines
    assert lines[-1] == "依据：国务院办公厅关于2026年部分节假日安排的通知（国办发明电〔2025〕7号）"
    assert len(lines) == 40


def test_show_of_a_year_without_data_says_what_is_done_instead(runner) -> None:
    result = runner.invoke(args=["calendar", "show", "2027"])
    assert result.exit_code == 1
    assert "2027 年的节假日尚未录入，暂按周末推算" in result.stderr


def test_a_draft_is_the_products_file_but_for_the_words(runner, tmp_path: Path) -> None:
    file = tmp_path / "2026.yaml"
    draft = runner.invoke(args=["calendar", "draft", "2026"]).stdout
    assert "  国庆节:\n    first: 2026-10-01\n    last: 2026-10-07\n" in draft
    file.write_text(draft, encoding="utf-8")
    result = runner.invoke(args=["calendar", "import", str(file)])
    assert "2026 年：新增 0 日，更改 0 日，取消 0 日，39 日未变" in result.stdout


def test_a_year_that_the_library_does_not_know_can_not_be_drafted(runner) -> None:
    result = runner.invoke(args=["calendar", "draft", "2099"])
    assert result.exit_code == 1
    assert "没有 2099 年的数据" in result.stderr
