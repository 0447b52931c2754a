"""Gather the debits whose day has come into files, and hand the files in."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.debit_batches.queries import count_unsent_batches
from app.domain.debit_batches.sending import send_debit_batches
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many debits were collected or set aside, and what became of which batches."""
    return send_debit_batches(ports)


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many batches are begun and not handed in."""
    return {"unsent": count_unsent_batches(session)}
