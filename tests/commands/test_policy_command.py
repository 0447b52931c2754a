"""`flask policy`: what is printed, and what makes it fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from app.commands.policy import policy
from app.domain.ports import Ports
from config.policy_files import POLICY_FOLDER


@pytest.fixture
def runner(ports: Ports) -> FlaskCliRunner:
    flask_app = Flask("test")
    flask_app.extensions["lianjiao"] = ports
    flask_app.cli.add_command(policy)
    return flask_app.test_cli_runner()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the baseline, to be changed."""
    return Path(shutil.copytree(POLICY_FOLDER, tmp_path / "policy"))


def shown(runner: FlaskCliRunner, *arguments: str) -> dict[str, dict[str, object]]:
    result = runner.invoke(args=["policy", "show", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)}


def edit(path: Path, good: str, bad: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(good) == 1
    path.write_text(text.replace(good, bad), encoding="utf-8")


def test_show_gives_figure_day_source_and_status(runner):
    rows = shown(runner, "--date", "2026-11-24")
    assert rows["loan.gate_months"] == {
        "name": "loan.gate_months",
        "title": "申请贷款须累计缴存的月数",
        "value": 6,
        "effective_from": "2025-06-09",
        "until": None,
        "source": "试点方案 第五条",
        "status": "confirmed",
    }
    assert rows["loan.first_home_rate"]["value"] == {"short": "0.0210", "long": "0.0260"}


def test_show_derives_minimum_and_cap_with_their_working(runner):
    rows = shown(runner, "--date", "2026-11-24")
    assert rows["deposit.monthly_minimum_fen"] == {
        "name": "deposit.monthly_minimum_fen",
        "title": "最低月缴存额（推算）",
        "value": 12_150,
        "effective_from": "2026-01-01",
        "until": None,
        "source": "最低工资 2,430.00 元（II 类地区）× 最低缴存比例 5%",
        "status": "assumed",
    }
    assert rows["deposit.yearly_cap_fen"] == {
        "name": "deposit.yearly_cap_fen",
        "title": "年度缴存上限（推算）",
        "value": 9_084_960,
        "effective_from": "2026-01-01",
        "until": "2026-12-31",
        "source": "月缴存基数上限 31,545.00 元 × 最高缴存比例 24% × 12",
        "status": "reported",
    }


def test_show_of_another_day_gives_that_days_figures_and_their_last_day(runner):
    rows = shown(runner, "--date", "2025-12-31", "--name", "deposit")
    minimum = rows["deposit.monthly_minimum_fen"]
    assert (minimum["value"], minimum["effective_from"], minimum["until"]) == (
        11_300,
        "2024-01-01",
        "2025-12-31",
    )
    assert {"deposit.base_limit_fen", "deposit.yearly_cap_fen"}.isdisjoint(rows)


def test_show_is_of_today_unless_told(runner, clock):
    assert shown(runner, "--name", "deposit.minimum_rate").keys() == {"deposit.minimum_rate"}
    assert "deposit.yearly_cap_fen" in shown(runner, "--name", "deposit")
    clock.advance(days=38)  # 1 January 2027
    assert "deposit.yearly_cap_fen" not in shown(runner, "--name", "deposit")


def test_show_prints_a_table_for_people(runner):
    result = runner.invoke(args=["policy", "show", "--date", "2026-11-24", "--name", "deposit"])
    assert result.exit_code == 0
    for words in (
        "2026-11-24 的政策参数",
        "最低月缴存额（推算）",
        "121.50 元",
        "最低工资 2,430.00 元（II 类地区）× 最低缴存比例 5%",
        "90,849.60 元",
        "暂定，待中心确认",
        "已公布，待核对原件",
    ):
        assert words in result.stdout


def test_show_says_what_has_no_value_on_the_day(runner):
    result = runner.invoke(args=["policy", "show", "--date", "2025-07-01", "--name", "deposit"])
    assert result.exit_code == 0
    assert "2025-07-01 无有效值：月缴存基数上限（deposit.base_limit_fen）" in result.stderr


def test_show_fails_when_nothing_asked_for_has_a_value(runner):
    result = runner.invoke(
        args=["policy", "show", "--date", "2027-01-01", "--name", "deposit.base_limit_fen"]
    )
    assert result.exit_code == 1
    assert "2027-01-01 无有效值：月缴存基数上限" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--name", "deposit.minimum"), "没有名为 deposit.minimum 的政策参数"),
        (("--name", "nobody"), "没有名为 nobody 的政策参数"),
        (("--date", "2026-02-30"), "2026-02-30"),
        (("--date", "tomorrow"), "tomorrow"),
    ],
)
def test_show_refuses_what_does_not_exist(runner, arguments, words):
    result = runner.invoke(args=["policy", "show", *arguments])
    assert result.exit_code == 2
    assert words in result.stderr


def test_load_twice_adds_nothing(runner):
    result = runner.invoke(args=["policy", "load"])
    assert result.exit_code == 0
    assert result.stdout == "新载入 0 条政策参数，原有 119 条未变\n"


def test_load_adds_a_new_line_and_check_asks_for_it_before(runner, folder):
    edit(
        folder / "deposit.base_limit_fen.yaml",
        "    until: 2026-12-31\n",
        "    until: 2026-12-31\n  2027-01-01: {value: 3200000, source: 测试, status: reported}\n",
    )
    check = runner.invoke(args=["policy", "check", "--folder", str(folder)])
    assert check.exit_code == 1
    assert "尚未载入：月缴存基数上限（deposit.base_limit_fen，2027-01-01 起）" in check.stderr
    load = runner.invoke(args=["policy", "load", "--folder", str(folder)])
    assert load.stdout == "新载入 1 条政策参数，原有 119 条未变\n"
    check = runner.invoke(args=["policy", "check", "--folder", str(folder)])
    assert check.exit_code == 0
    assert check.stdout == "政策参数与文件一致，共 120 条\n"


@pytest.mark.parametrize("command", ["load", "check"])
def test_a_changed_past_is_refused(runner, folder, command):
    edit(folder / "loan.gate_months.yaml", "value: 6", "value: 12")
    result = runner.invoke(args=["policy", command, "--folder", str(folder)])
    assert result.exit_code == 1
    assert "申请贷款须累计缴存的月数" in result.stderr
    assert "不可修改或删除" in result.stderr
    assert shown(runner, "--name", "loan.gate_months")["loan.gate_months"]["value"] == 6


@pytest.mark.parametrize("command", ["load", "check"])
def test_a_broken_file_is_refused_by_name_and_line(runner, folder, command):
    edit(folder / "deposit.minimum_rate.yaml", '"0.05"', "0.05")
    result = runner.invoke(args=["policy", command, "--folder", str(folder)])
    assert result.exit_code == 1
    assert "deposit.minimum_rate.yaml: line 6: '0.05' must be quoted text" in result.stderr


def test_check_names_the_figures_that_end_soon(runner):
    result = runner.invoke(args=["policy", "check"])
    assert result.exit_code == 0
    assert result.stdout == (
        "政策参数与文件一致，共 119 条\n"
        "即将到期：月缴存基数上限（deposit.base_limit_fen）至 2026-12-31，其后尚无参数\n"
    )
    assert "即将到期" not in runner.invoke(args=["policy", "check", "--within", "36"]).stdout
