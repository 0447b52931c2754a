"""Stored callbacks that wait."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.callbacks.models import CallbackResult, ChannelCallback


def count_pending(session: Session) -> int:
    """Return how many stored callbacks were not applied yet."""
    waiting = select(func.count()).where(ChannelCallback.result == CallbackResult.PENDING)
    return session.scalar(waiting) or 0
