"""Make agreements active again whose suspension is over."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.agreements.operations import resume_expired
from app.domain.agreements.queries import count_suspensions_over
from app.domain.ports import Ports
from app.jobs import Counts, fence_each_transaction


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many were resumed."""
    return {"resumed": resume_expired(fence_each_transaction(ports), on=on)}


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many would be resumed."""
    return {"resumed": count_suspensions_over(session, on=on)}
