"""Ask the channels whether every mandate in force still stands there."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.mandates.asking import compare_mandates
from app.domain.mandates.queries import count_standing_mandates
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many were the same, and how many had which effect."""
    return compare_mandates(ports, on=on)


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many would be asked about."""
    return {"due": count_standing_mandates(session)}
