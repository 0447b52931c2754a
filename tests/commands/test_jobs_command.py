"""`flask jobs`: the timetable, a run by hand, a dry run, and what ran."""

from __future__ import annotations

import json

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from app.commands import jobs as command
from app.domain.ports import Ports
from app.domain.scheduling.operations import take_lease
from app.jobs.running import Term, run_due
from app.jobs.timetable import JOBS
from tests.builders import an_account
from tests.conftest import MovableClock
from tests.fund import Fund
from tests.jobs.conftest import Diary


@pytest.fixture
def runner(ports: Ports) -> FlaskCliRunner:
    flask_app = Flask("test")
    flask_app.extensions["lianjiao"] = ports
    flask_app.cli.add_command(command.jobs)
    return flask_app.test_cli_runner()


@pytest.fixture
def fund(ports: Ports, clock: MovableClock) -> Fund:
    """One deposit of the day before."""
    fund = Fund.around(ports, clock)
    fund.deposit(an_account(ports), 50_000)
    clock.advance(days=1)
    return fund


def test_list_prints_when_each_is_due_and_when_it_last_succeeded(runner, fund: Fund) -> None:
    grip = take_lease(fund.ports, holder="a")
    assert grip is not None
    run_due(next(job for job in JOBS if job.name == "seal-days"), Term(fund.ports, grip))
    lines = runner.invoke(args=["jobs", "list"]).stdout.splitlines()
    assert len(lines) == len(JOBS)
    by_name = {line.split()[0]: line for line in lines}
    assert "每 10 秒" in by_name["resolve-orders"]
    assert "上次成功 - " in by_name["resolve-orders"]
    assert "每日 00:10" in by_name["seal-days"]
    assert "上次成功 2026-11-25T10:00:00+08:00" in by_name["seal-days"]


def test_a_dry_run_says_what_would_be_done_and_then_it_is(runner, fund: Fund) -> None:
    for _ in range(2):
        result = runner.invoke(args=["jobs", "run", "seal-days", "--dry-run"])
        assert (result.exit_code, json.loads(result.stdout)) == (0, {"sealed": 1})
    assert runner.invoke(args=["jobs", "runs"]).stdout == ""
    result = runner.invoke(args=["jobs", "run", "seal-days"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"sealed": 1})
    result = runner.invoke(args=["jobs", "run", "seal-days", "--dry-run"])
    assert json.loads(result.stdout) == {"sealed": 0}


def test_a_run_for_an_earlier_day_does_what_was_due_on_that_day(runner, fund: Fund) -> None:
    result = runner.invoke(args=["jobs", "run", "seal-days", "--date", "2026-11-24"])
    assert json.loads(result.stdout) == {"sealed": 0}
    result = runner.invoke(args=["jobs", "run", "seal-days", "--date", "2026-11-25"])
    assert json.loads(result.stdout) == {"sealed": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["seal-days", "--date", "2026-11-26"], "日期不能晚于今日"),
        (["seal-days", "--date", "2026-02-30"], "2026-02-30"),
        (["resolve-orders", "--date", "2026-11-24"], "resolve-orders 按时刻办理，不分日期"),
        (["pay-everybody"], "pay-everybody"),
    ],
)
def test_what_means_nothing_is_refused(runner, fund: Fund, arguments, words: str) -> None:
    result = runner.invoke(args=["jobs", "run", *arguments])
    assert result.exit_code == 2
    assert words in result.stderr
    assert runner.invoke(args=["jobs", "runs"]).stdout == ""


def test_runs_are_printed_newest_first(runner, fund: Fund, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Diary(fund.clock.now().date()).job(name="apply-callbacks")
    monkeypatch.setitem(command.BY_NAME, "apply-callbacks", broken)
    runner.invoke(args=["jobs", "run", "seal-days"])
    fund.clock.advance(minutes=5)
    result = runner.invoke(args=["jobs", "run", "apply-callbacks"])
    assert result.exit_code == 1
    first, second = runner.invoke(args=["jobs", "runs"]).stdout.splitlines()
    assert first.startswith("2026-11-25T10:05:00+08:00  apply-callbacks    2026-11-25  失败  手动")
    assert "ValueError @ " in first
    assert "测试用户" not in first
    assert second.startswith("2026-11-25T10:00:00+08:00  seal-days          2026-11-25  成功  手动")
    assert second.endswith('{"sealed": 1}')
    assert runner.invoke(args=["jobs", "runs", "--failed"]).stdout.splitlines() == [first]
    only = runner.invoke(args=["jobs", "runs", "--name", "seal-days"])
    assert only.stdout.splitlines() == [second]
    assert runner.invoke(args=["jobs", "runs", "--limit", "1"]).stdout.splitlines() == [first]
