"""Plan the debits whose notice has come."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.debits.planning import count_plannable, plan_debits
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many were planned."""
    return plan_debits(ports, on=on)


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many would be planned."""
    return {"planned": count_plannable(session, on=on, now=now)}
