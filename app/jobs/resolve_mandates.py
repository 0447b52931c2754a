"""Ask channels about mandates that are undecided, and tell them of those that are over."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.mandates.asking import resolve_mandates
from app.domain.mandates.queries import count_due_mandates
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many mandates had which effect."""
    return resolve_mandates(ports)


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many would be asked about: the effects are the channels' to tell."""
    return {"due": count_due_mandates(session, now=now)}
