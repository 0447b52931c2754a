"""Send released refunds and ask channels about those under way."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.inquiries.operations import resolve_refunds
from app.domain.inquiries.queries import count_due_refunds
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many refunds ended in which effect."""
    return resolve_refunds(ports)


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many would be sent or asked about: the effects are the channels' to tell."""
    return {"due": count_due_refunds(session, now=now)}
