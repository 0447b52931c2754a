"""What of the batches is still to be done."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.debit_batches.models import AT_BANK, UNSENT, DebitBatch
from app.domain.debit_batches.rules import BatchState

BATCH = table_of(DebitBatch)


def count_unsent_batches(session: Session) -> int:
    """Return how many batches are begun and not handed in."""
    return _count(session, UNSENT)


def count_batches_at_bank(session: Session) -> int:
    """Return how many batches wait for a word of the bank."""
    return _count(session, AT_BANK)


def _count(session: Session, states: tuple[BatchState, ...]) -> int:
    return session.scalar(select(func.count()).where(BATCH.c.state.in_(states))) or 0
