"""Reading refunds. Fen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.errors import NotFound
from app.domain.payment_orders.models import PaymentOrder
from app.domain.refunds.models import Refund, RefundReason, RefundState

REFUND = table_of(Refund)
ORDER = table_of(PaymentOrder)

_VIEW = select(REFUND, ORDER.c.order_no, ORDER.c.channel).join(
    ORDER, ORDER.c.id == REFUND.c.order_id
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundView:
    """A refund with the deposit that it belongs to."""

    id: int
    refund_no: str
    order_no: str
    channel: str
    amount_fen: int
    state: RefundState
    reason: RefundReason
    note: str
    maker: str
    checker: str | None
    checker_note: str | None
    requested_at: datetime
    decided_at: datetime | None
    ended_at: datetime | None
    raw_code: str | None


def get_refund(session: Session, *, refund_no: str, account_id: int | None) -> RefundView:
    """Return a refund; of one's own account unless `account_id` is None (staff).

    Raises:
        NotFound: no such refund, or somebody else's.
    """
    query = _VIEW.where(REFUND.c.refund_no == refund_no)
    if account_id is not None:
        query = query.where(REFUND.c.account_id == account_id)
    row = session.execute(query).one_or_none()
    if row is None:
        raise NotFound("未找到该笔退款")
    return _view(row)


def list_refunds(
    session: Session,
    *,
    state: RefundState | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> list[RefundView]:
    """Return refunds for staff, newest first."""
    query = _VIEW.order_by(REFUND.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(REFUND.c.state == state)
    if before_id is not None:
        query = query.where(REFUND.c.id < before_id)
    return [_view(row) for row in session.execute(query)]


def _view(row: Row[Any]) -> RefundView:
    return RefundView(**{name: getattr(row, name) for name in RefundView.__slots__})
