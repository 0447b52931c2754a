"""Take in what banks answer to debits by file."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.debit_batches.answers import fetch_bank_answers
from app.domain.debit_batches.queries import count_batches_at_bank
from app.domain.ports import Ports
from app.jobs import Counts


def run(ports: Ports, *, on: date) -> Counts:
    """Return how many files were imported, refused or odd, and how many batches settled."""
    return fetch_bank_answers(ports)


def due(session: Session, *, on: date, now: datetime) -> Counts:
    """Return how many batches wait for a word: which files lie ready, only the bank can tell."""
    return {"at_bank": count_batches_at_bank(session)}
