"""Remove log-in sessions, link codes, link attempts, runs and messages that no longer matter."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.outbox.operations import remove_old_messages
from app.domain.outbox.queries import count_old_messages
from app.domain.ports import Ports
from app.domain.scheduling.operations import remove_old_runs
from app.domain.scheduling.queries import count_old_runs
from app.domain.sessions.operations import remove_expired
from app.domain.sessions.queries import count_outdated
from app.jobs import Counts, fence_each_transaction


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many rows went."""
    fenced = fence_each_transaction(ports)
    return {
        "removed": remove_expired(fenced),
        "runs_removed": remove_old_runs(fenced),
        "messages_removed": remove_old_messages(fenced),
    }


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many rows would go."""
    return {
        "removed": count_outdated(session, now=now),
        "runs_removed": count_old_runs(session, now=now),
        "messages_removed": count_old_messages(session, now=now),
    }
