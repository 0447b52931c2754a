"""Every command group under `flask --app wsgi`."""

from __future__ import annotations

from flask import Flask

from app.commands.calendar import calendar
from app.commands.demo import demo
from app.commands.doctor import doctor
from app.commands.jobs import jobs, scheduler
from app.commands.keys import keys
from app.commands.ledger import ledger
from app.commands.policy import policy
from app.commands.staff import staff


def register_commands(app: Flask) -> None:
    """Add the groups to the application's command line."""
    for command in (ledger, policy, calendar, keys, staff, jobs, demo, doctor, scheduler):
        app.cli.add_command(command)
