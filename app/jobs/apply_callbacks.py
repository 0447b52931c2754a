"""Apply stored callbacks whose first application failed."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.callbacks.operations import apply_pending_callbacks
from app.domain.callbacks.queries import count_pending
from app.domain.ports import Ports
from app.jobs import Counts, fence_each_transaction


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many were applied and how many failed again."""
    applied, failed = apply_pending_callbacks(fence_each_transaction(ports))
    return {"applied": applied, "failed": failed}


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many would be applied again."""
    return {"pending": count_pending(session)}
