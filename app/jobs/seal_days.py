"""Seal every business day that is over (日终封账)."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from app.domain.calendar import business_day
from app.domain.ledger.operations import seal_days
from app.domain.ledger.queries import count_unsealed_days
from app.domain.ports import Ports
from app.jobs import Counts, fence_each_transaction

GRACE = timedelta(minutes=10)
"""Payments confirmed around midnight may still be posted to the day before by a slow clock."""


def run(ports: Ports, *, on: date) -> Counts:
    """Seal what is over on the day `on`; return how many days were sealed."""
    through = _last_day_over(on, now=ports.now())
    return {"sealed": len(seal_days(fence_each_transaction(ports), through=through))}


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many days would be sealed."""
    return {"sealed": count_unsealed_days(session, through=_last_day_over(on, now=now))}


def _last_day_over(on: date, *, now: datetime) -> date:
    return min(on, business_day(now - GRACE)) - timedelta(days=1)
