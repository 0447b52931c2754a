"""Propose refunds of what was debited twice."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.debit_runs.twice import count_unproposed, propose_refunds
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many were proposed."""
    return propose_refunds(ports)


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many would be proposed."""
    return {"proposed": count_unproposed(session)}
