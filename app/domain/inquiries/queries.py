"""What waits to be asked about."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.payment_orders.models import OPEN_STATES, PaymentOrder
from app.domain.refunds.models import IN_FLIGHT, Refund


def is_due(table: Table, states: tuple[Any, ...], *, now: datetime) -> ColumnElement[bool]:
    """Return the condition of orders or refunds whose next question has come."""
    return and_(table.c.state.in_(states), table.c.next_query_at <= now)


def count_due_orders(session: Session, *, now: datetime) -> int:
    """Return how many open orders would be asked about."""
    return _count(session, table_of(PaymentOrder), OPEN_STATES, now=now)


def count_due_refunds(session: Session, *, now: datetime) -> int:
    """Return how many refunds would be sent or asked about."""
    return _count(session, table_of(Refund), IN_FLIGHT, now=now)


def _count(session: Session, table: Table, states: tuple[Any, ...], *, now: datetime) -> int:
    due = select(func.count()).select_from(table).where(is_due(table, states, now=now))
    return session.scalar(due) or 0
