"""Send the debits whose day has come, at a time of day at which people are awake."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.debit_runs.claiming import count_due_debits
from app.domain.debit_runs.submitting import submit_debits
from app.domain.debits.rules import is_sending_time
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many were sent with which result, skipped, cancelled, failed or left waiting."""
    return submit_debits(ports) if is_sending_time(ports.now()) else {}


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many debits' day has come, those included that go out by file instead."""
    return {"due": count_due_debits(session, on=on) if is_sending_time(now) else 0}
