"""`flask jobs` and `flask scheduler`: the timetable by hand and by clock."""

from __future__ import annotations

import json
import os
import platform
import signal
from datetime import date, datetime
from threading import Event, Thread

import click
from flask.cli import AppGroup

from app.commands import current_ports
from app.domain.calendar import business_day, local_iso
from app.domain.errors import FundError
from app.domain.scheduling.models import RunState, Trigger
from app.domain.scheduling.queries import list_progress, list_runs
from app.jobs import Daily, Job
from app.jobs.running import count_due, run_by_hand
from app.jobs.schedule import serve
from app.jobs.timetable import JOBS

jobs = AppGroup("jobs", help="定时任务：列出、手动执行、查看运行记录。")

BY_NAME = {job.name: job for job in JOBS}
STATE_WORDS = {
    RunState.RUNNING: "运行中",
    RunState.SUCCEEDED: "成功",
    RunState.FAILED: "失败",
    RunState.ABANDONED: "中断",
}
TRIGGER_WORDS = {Trigger.SCHEDULE: "定时", Trigger.MANUAL: "手动"}


@jobs.command("list")
def list_command() -> None:
    """Print the timetable, and when each job last succeeded by it."""
    progress = current_ports().read(list_progress)
    for job in JOBS:
        known = progress.get(job.name)
        last = local_iso(known.succeeded_at) if known and known.succeeded_at else "-"
        click.echo(f"{job.name:18} {_when(job):　<9} 上次成功 {last:25}  {job.title}")


@jobs.command("run")
@click.argument("name", type=click.Choice(list(BY_NAME)))
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="业务日期（默认今日）。")
@click.option("--dry-run", is_flag=True, help="只统计待办数量，不作任何改动。")
def run_command(name: str, day: datetime | None, dry_run: bool) -> None:
    """Run one job now and print what it did; with --dry-run, what it would take up."""
    job, ports = BY_NAME[name], current_ports()
    on = _day_of(job, day, today=business_day(ports.now()))
    try:
        if dry_run:
            counts = count_due(job, ports, on=on)
        else:
            counts = run_by_hand(job, ports, on=on, holder=this_process())
    except FundError as error:
        raise click.ClickException(error.message) from None
    click.echo(json.dumps(counts, ensure_ascii=False))


@jobs.command("runs")
@click.option("--name", type=click.Choice(list(BY_NAME)), help="只看一个任务。")
@click.option("--failed", is_flag=True, help="只看失败的。")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, help="最多列出多少条。")
def runs_command(name: str | None, failed: bool, limit: int) -> None:
    """Print the latest runs, newest first. Runs that found nothing to do are not kept."""
    state = RunState.FAILED if failed else None
    for run in current_ports().read(
        lambda session: list_runs(session, job=name, state=state, limit=limit)
    ):
        seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at else None
        took = "-" if seconds is None else f"{seconds:.1f} 秒"
        click.echo(
            f"{local_iso(run.started_at)}  {run.job:18} {run.on_date}  {STATE_WORDS[run.state]}"
            f"  {TRIGGER_WORDS[run.trigger]}  {took}  {run.holder}"
            f"  {run.error or json.dumps(run.counts, ensure_ascii=False)}"
        )


@click.command("scheduler")
def scheduler() -> None:
    """Keep the timetable until stopped, or wait until another scheduler is gone."""
    stop = Event()

    def end(_signal: int, _frame: object) -> None:
        # From another thread: the handler may have interrupted this one within the event's lock.
        Thread(target=stop.set).start()

    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, end)
    serve(current_ports(), holder=this_process(), stop=stop)


def this_process() -> str:
    """Return where this process runs, for people who look for it."""
    return f"{platform.node()[:100]}:{os.getpid()}"


def _when(job: Job) -> str:
    if isinstance(job.when, Daily):
        return f"每日 {job.when.at:%H:%M}"
    return f"每 {job.when.seconds} 秒"


def _day_of(job: Job, day: datetime | None, *, today: date) -> date:
    if day is None:
        return today
    if not isinstance(job.when, Daily):
        raise click.BadParameter(f"{job.name} 按时刻办理，不分日期", param_hint="--date")
    if day.date() > today:
        raise click.BadParameter("日期不能晚于今日", param_hint="--date")
    return day.date()
