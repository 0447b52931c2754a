"""Send people the messages that wait for them."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.outbox.operations import send_messages
from app.domain.outbox.queries import count_due_messages
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many were sent, and what became of the others."""
    return send_messages(ports)


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many would be tried: what becomes of them is the platforms' to tell."""
    return {"due": count_due_messages(session, now=now)}
