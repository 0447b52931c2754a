"""Announce debits where a channel takes no others."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.debit_runs.announcing import announce_debits, count_unannounced
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many were announced, refused or not answered."""
    return announce_debits(ports)


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many wait to be announced anew."""
    return {"due": count_unannounced(session, now=now)}
