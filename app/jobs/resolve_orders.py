"""Ask channels about orders whose callback has not come, and close those that expired."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.inquiries.operations import resolve_orders
from app.domain.inquiries.queries import count_due_orders
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many orders ended in which effect."""
    return resolve_orders(ports)


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many would be asked about: the effects are the channels' to tell."""
    return {"due": count_due_orders(session, now=now)}
