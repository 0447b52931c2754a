"""Reading breaks."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.breaks.models import Break


def list_breaks(session: Session, *, before_id: int | None = None, limit: int = 50) -> list[Break]:
    """Return breaks, newest first, from before `before_id`."""
    query = select(Break).order_by(Break.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(Break.id < before_id)
    return list(session.scalars(query))
