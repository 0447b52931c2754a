"""What an answer about a debit does that is no success: refused, under way, or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.debits.moves import Failure, fail
from app.domain.payment_orders.models import OPEN_STATES, ORDER_STATES, OrderState, PaymentOrder
from app.domain.payment_orders.rules import next_query_at
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.settlement import Effect

ORDER = table_of(PaymentOrder)

_FAIL = (
    update(ORDER)
    .where(
        ORDER.c.id == bindparam("order_id"),
        ORDER.c.state.in_(ORDER_STATES.sources_of(OrderState.FAILED)),
    )
    .values(
        state=OrderState.FAILED,
        reason=bindparam("why"),
        raw_code=bindparam("code"),
        ended_at=bindparam("ended"),
        next_query_at=None,
    )
)


def fail_debits(
    session: Session, refused: Sequence[tuple[Row[Any], Outcome]], *, now: datetime
) -> list[Effect]:
    """End the attempts that the channel refused, and put their instructions to their next day.

    «Not found» is no refusal, and an attempt that has ended before stays as it ended.

    Args:
        refused: locked orders under mandates, each with the refusal.
    """
    ended = [
        (order, outcome)
        for order, outcome in refused
        if outcome.reason is not Reason.NOT_FOUND and order.state in OPEN_STATES
    ]
    for order, outcome in ended:
        moved = rows_changed(
            session,
            _FAIL,
            {
                "order_id": order.id,
                "why": outcome.reason,
                "code": outcome.raw_code or None,
                "ended": now,
            },
        )
        assert moved == 1, f"locked order {order.order_no} did not move"
    if ended:
        failures = [
            Failure(
                instruction_id=order.instruction_id,
                reason=outcome.reason,
                mandate_id=order.mandate_id,
            )
            for order, outcome in ended
        ]
        fail(session, failures, now=now)
    numbers = {order.order_no for order, _ in ended}
    return [
        Effect.DEBIT_FAILED if order.order_no in numbers else Effect.NOTHING for order, _ in refused
    ]


def note_submitted(
    session: Session,
    outcome: Outcome,
    *,
    now: datetime,
    query_count: int = 0,
    ask_at: datetime | None = None,
) -> Effect:
    """Note that a debit is under way, or that nobody knows: it will be asked about.

    Changes nothing once the attempt has ended: a callback may overtake the answer.

    Args:
        query_count: how often it was asked about.
        ask_at: when to ask, where that does not follow from `query_count`.
    """
    accepted = outcome.kind is OutcomeKind.ACCEPTED
    target = OrderState.AWAITING_PAYMENT if accepted else OrderState.UNKNOWN
    rows_changed(
        session,
        update(ORDER)
        .where(
            ORDER.c.order_no == outcome.number,
            ORDER.c.state.in_({*ORDER_STATES.sources_of(target), target}),
        )
        .values(
            state=target,
            raw_code=outcome.raw_code or None,
            next_query_at=ask_at or next_query_at(now, query_count=query_count),
        ),
    )
    return Effect.NOTHING
