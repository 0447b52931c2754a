"""Money debited twice for one period: a refund of the second is proposed, for two people."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.breaks.models import Break, BreakKind
from app.domain.errors import FundError
from app.domain.payment_orders.models import PaymentOrder
from app.domain.ports import Ports
from app.domain.refunds.models import Refund, RefundReason
from app.domain.refunds.operations import RefundApplication, request_refund

BREAK = table_of(Break)
ORDER = table_of(PaymentOrder)
REFUND = table_of(Refund)

MAKER = "system"

log = logging.getLogger(__name__)


def propose_refunds(ports: Ports) -> dict[str, int]:
    """Ask for the money of each second debit back, once; staff release or refuse it.

    Returns: how many were `proposed`, and how many `refused` because too little is left.
    """
    proposed = refused = 0
    for order_no, amount_fen in ports.read(_unproposed):
        application = RefundApplication(
            order_no=order_no,
            account_id=None,
            amount_fen=amount_fen,
            reason=RefundReason.DUPLICATE,
            note="同一期重复扣款，系统提出退款",
            maker=MAKER,
            request_key=_key(order_no),
        )
        try:
            request_refund(ports, application=application)
            proposed += 1
        except FundError as error:
            # Spent or frozen meanwhile: the break stays open for staff.
            log.warning("refund not proposed", extra={"number": order_no, "reason": error.code})
            refused += 1
    return {"proposed": proposed, "refused": refused}


def count_unproposed(session: Session) -> int:
    """Return how many second debits have no refund asked for yet."""
    return len(_unproposed(session))


def _unproposed(session: Session) -> list[tuple[str, int]]:
    asked = select(REFUND.c.order_id).where(REFUND.c.maker == MAKER)
    rows = session.execute(
        select(ORDER.c.order_no, ORDER.c.amount_fen)
        .join(BREAK, BREAK.c.number == ORDER.c.order_no)
        .where(
            BREAK.c.kind == BreakKind.DEBITED_TWICE,
            BREAK.c.closed_at.is_(None),
            ORDER.c.refund_reserved_fen == 0,
            ORDER.c.id.not_in(asked),
        )
        .order_by(ORDER.c.id)
    )
    return [(order_no, amount_fen) for order_no, amount_fen in rows]


def _key(order_no: str) -> str:
    return f"debited-twice:{order_no}"
