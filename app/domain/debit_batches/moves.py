"""The one way in which a batch changes its state, and the words by which it is called."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.breaks.models import BreakKind
from app.domain.breaks.operations import open_break
from app.domain.debit_batches.models import BATCH_STATES, DebitBatch
from app.domain.debit_batches.rules import BatchState
from app.domain.ports.debits import BatchHead

BATCH = table_of(DebitBatch)


def move_batch(session: Session, batch_id: int, target: BatchState, **values: Any) -> bool:
    """Move a batch if its state allows it; tell whether it did."""
    return (
        rows_changed(
            session,
            update(BATCH)
            .where(BATCH.c.id == batch_id, BATCH.c.state.in_(BATCH_STATES.sources_of(target)))
            .values(state=target, **values),
        )
        == 1
    )


def head_of(batch: Row[Any]) -> BatchHead:
    """Return number and totals of a batch as the bank's files name them."""
    return BatchHead(
        day=batch.bank_day,
        sequence=batch.sequence,
        count=batch.line_count,
        sum_fen=batch.sum_fen,
    )


def number_of(batch: Row[Any]) -> str:
    """Return what staff and logs call a batch: ``2026-12-10/0001``."""
    return f"{batch.bank_day.isoformat()}/{batch.sequence:04d}"


def tell_staff(
    session: Session, batch: Row[Any], kind: BreakKind, *, message: str, now: datetime
) -> None:
    """Open a break on a whole batch, once."""
    open_break(
        session,
        kind=kind,
        channel=batch.channel,
        number=number_of(batch),
        expected_fen=batch.sum_fen,
        message=message,
        now=now,
    )
