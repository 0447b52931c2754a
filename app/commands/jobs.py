"""`flask jobs` and `flask scheduler`: the timetable by hand and by clock."""

from __future__ import annotations

import json

import click
from flask.cli import AppGroup

from app.commands import current_ports
from app.jobs.schedule import JOBS, run_job, serve

jobs = AppGroup("jobs", help="定时任务：列出、手动执行。")


@jobs.command("list")
def list_command() -> None:
    """Print the timetable."""
    for job in JOBS:
        click.echo(f"{job.name:18} 每 {job.every_seconds:>5} 秒  {job.title}")


@jobs.command("run")
@click.argument("name", type=click.Choice([job.name for job in JOBS]))
def run_command(name: str) -> None:
    """Run one job now and print what it did."""
    job = next(job for job in JOBS if job.name == name)
    click.echo(json.dumps(run_job(job, current_ports()), ensure_ascii=False))


@click.command("scheduler")
def scheduler() -> None:
    """Keep the timetable until stopped."""
    serve(current_ports())
