"""Attempts (扣款): the orders by which due instructions are sent, stored before they go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, insert, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.calendar import business_day
from app.domain.debits.models import DebitInstruction
from app.domain.debits.rules import InstructionState
from app.domain.deposits.rules import digest_request
from app.domain.payment_orders.models import OrderState, PaymentOrder

INSTRUCTION = table_of(DebitInstruction)
ORDER = table_of(PaymentOrder)

_INSERT = insert(ORDER)
_ATTEMPT = (
    update(INSTRUCTION)
    .where(INSTRUCTION.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state=InstructionState.ATTEMPTING,
        next_attempt_on=None,
        attempt_count=INSTRUCTION.c.attempt_count + 1,
        first_attempt_on=func.coalesce(INSTRUCTION.c.first_attempt_on, bindparam("today")),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A locked instruction that is to be sent now, and the number of its attempt."""

    order_no: str
    instruction: Row[Any]
    mandate: Row[Any]


def store_attempts(
    session: Session,
    candidates: Sequence[Candidate],
    *,
    now: datetime,
    expires_at: datetime,
    ask_at: datetime,
    batch_id: int | None = None,
    first_place: int = 1,
) -> None:
    """Store what is sent, before it is sent.

    Args:
        expires_at: when its end is due.
        ask_at: when it is asked about, if nothing was heard of it by then.
        batch_id: the batch by which it is sent, in its order from `first_place` on.
    """
    if not candidates:
        return
    orders: list[dict[str, Any]] = []
    for place, candidate in enumerate(candidates, start=first_place):
        row, mandate = candidate.instruction, candidate.mandate
        orders.append(
            {
                "order_no": candidate.order_no,
                "account_id": row.account_id,
                "channel": row.channel,
                "amount_fen": row.amount_fen,
                "state": OrderState.SENDING,
                "request_key": f"debit:{row.id}:{row.attempt_count + 1}",
                "request_digest": digest_request(
                    channel=row.channel, amount_fen=row.amount_fen, mandate=mandate.id
                ),
                "created_at": now,
                "expires_at": expires_at,
                "next_query_at": ask_at,
                "contribution_month": row.period,
                "instruction_id": row.id,
                "mandate_id": mandate.id,
                "batch_id": batch_id,
                "batch_place": None if batch_id is None else place,
            }
        )
    session.execute(_INSERT, orders)
    ids = [candidate.instruction.id for candidate in candidates]
    rows_changed(session, _ATTEMPT, {"ids": ids, "today": business_day(now)})
