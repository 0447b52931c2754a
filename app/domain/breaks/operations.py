"""Opening a break. Closing one takes two people and is the console's business."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.breaks.models import Break, BreakKind

BREAK = table_of(Break)


def open_break(
    session: Session,
    *,
    kind: BreakKind,
    channel: str,
    number: str,
    now: datetime,
    expected_fen: int | None = None,
    found_fen: int | None = None,
    reference: str | None = None,
    **detail: Any,
) -> bool:
    """Record a disagreement once per kind, channel, number, found amount and channel reference.

    Returns: False when the same break stands already.
    """
    key = f"{kind}:{channel}:{number}:{found_fen}:{reference}"
    if session.scalar(select(BREAK.c.id).where(BREAK.c.break_key == key)) is not None:
        return False
    session.execute(
        insert(BREAK).values(
            break_key=key,
            kind=kind,
            channel=channel,
            number=number,
            expected_fen=expected_fen,
            found_fen=found_fen,
            detail={"reference": reference, **detail},
            opened_at=now,
        )
    )
    return True
