"""Reading debits: one's own history, and what comes next. Fen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.domain.agreements.queries import get_live_agreement
from app.domain.agreements.rules import DebitChannel
from app.domain.base import table_of
from app.domain.calendar import local_iso
from app.domain.debits.making_up import NOT_FOUND
from app.domain.debits.models import DebitInstruction
from app.domain.debits.rules import EndReason, InstructionState, can_be_made_up
from app.domain.errors import NotFound
from app.domain.payment_orders.models import OrderState, PaymentOrder
from app.domain.ports.outcomes import Reason

INSTRUCTION = table_of(DebitInstruction)
ORDER = table_of(PaymentOrder)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One try; `by_hand` is money that the person paid in the debit's place."""

    order_no: str
    channel: str
    state: OrderState
    reason: Reason | None
    by_hand: bool
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DebitView:
    """An instruction as its contributor sees it.

    Attributes:
        next_attempt_on: when it will be tried, for the first time or again.
        reason: why the last attempt failed.
        can_be_made_up: it may be paid by hand now.
    """

    id: int
    period: str
    channel: DebitChannel
    amount_fen: int
    due_on: date
    state: InstructionState
    next_attempt_on: date | None
    reason: Reason | None
    end_reason: EndReason | None
    created_at: datetime
    ended_at: datetime | None
    can_be_made_up: bool
    attempts: list[AttemptView]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextDebit:
    """What will be debited next.

    Attributes:
        announced: its amount and channel stand already.
    """

    period: str
    due_on: date
    sent_on: date
    amount_fen: int
    channel: DebitChannel
    announced: bool


def get_debit(session: Session, *, account_id: int, period: str) -> DebitView:
    """Return one's own debit of a period.

    Raises:
        NotFound: nothing was planned for this period.
    """
    row = session.execute(
        select(INSTRUCTION).where(
            INSTRUCTION.c.account_id == account_id, INSTRUCTION.c.period == period
        )
    ).one_or_none()
    if row is None:
        raise NotFound(NOT_FOUND)
    return _views(session, [row])[0]


def list_debits(
    session: Session, *, account_id: int, before_id: int | None = None, limit: int = 20
) -> list[DebitView]:
    """Return one's own debits, newest first, from before `before_id`."""
    query = select(INSTRUCTION).where(INSTRUCTION.c.account_id == account_id)
    if before_id is not None:
        query = query.where(INSTRUCTION.c.id < before_id)
    rows = session.execute(query.order_by(INSTRUCTION.c.id.desc()).limit(limit)).all()
    return _views(session, rows)


def find_next_debit(session: Session, *, account_id: int, now: datetime) -> NextDebit | None:
    """Return what will be debited next: what is announced, or else what the agreement says."""
    announced = find_announced_debit(session, account_id=account_id)
    if announced is not None:
        return announced
    try:
        agreement = get_live_agreement(session, account_id=account_id, now=now)
    except NotFound:
        return None
    known = set(
        session.scalars(select(INSTRUCTION.c.period).where(INSTRUCTION.c.account_id == account_id))
    )
    for ahead in agreement.periods:
        if ahead.fits and ahead.period.key not in known:
            return NextDebit(
                period=ahead.period.key,
                due_on=ahead.due_on,
                sent_on=ahead.due_on,
                amount_fen=ahead.amount_fen,
                channel=ahead.channel,
                announced=False,
            )
    return None


def find_announced_debit(session: Session, *, account_id: int) -> NextDebit | None:
    """Return what is announced, or is to be tried again, and comes first; one query."""
    row = session.execute(
        select(INSTRUCTION)
        .where(
            INSTRUCTION.c.account_id == account_id,
            INSTRUCTION.c.state == InstructionState.SCHEDULED,
        )
        .order_by(INSTRUCTION.c.next_attempt_on)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    return NextDebit(
        period=row.period,
        due_on=row.due_on,
        sent_on=row.next_attempt_on,
        amount_fen=row.amount_fen,
        channel=row.channel,
        announced=True,
    )


def export_debits(session: Session, *, account_id: int) -> list[dict[str, Any]]:
    """Return all that is held on a person's debits, for the person alone, as plain JSON."""
    query = select(INSTRUCTION).where(INSTRUCTION.c.account_id == account_id)
    rows = session.execute(query.order_by(INSTRUCTION.c.id)).all()
    return [
        {
            "period": view.period,
            "channel": view.channel.value,
            "amount_fen": view.amount_fen,
            "due_on": view.due_on.isoformat(),
            "state": view.state.value,
            "planned_at": local_iso(view.created_at),
            "attempts": [
                {
                    "order_no": attempt.order_no,
                    "state": attempt.state.value,
                    "at": local_iso(attempt.created_at),
                }
                for attempt in view.attempts
            ],
        }
        for view in _views(session, rows)
    ]


def _views(session: Session, rows: Sequence[Row[Any]]) -> list[DebitView]:
    attempts: dict[int, list[AttemptView]] = defaultdict(list)
    orders = select(ORDER).where(ORDER.c.instruction_id.in_([row.id for row in rows]))
    for order in session.execute(orders.order_by(ORDER.c.id)):
        attempts[order.instruction_id].append(
            AttemptView(
                order_no=order.order_no,
                channel=order.channel,
                state=order.state,
                reason=order.reason,
                by_hand=order.mandate_id is None,
                created_at=order.created_at,
                ended_at=order.ended_at,
            )
        )
    return [
        DebitView(
            id=row.id,
            period=row.period,
            channel=row.channel,
            amount_fen=row.amount_fen,
            due_on=row.due_on,
            state=row.state,
            next_attempt_on=row.next_attempt_on,
            reason=row.reason,
            end_reason=row.end_reason,
            created_at=row.created_at,
            ended_at=row.ended_at,
            can_be_made_up=can_be_made_up(row.state, attempts=row.attempt_count),
            attempts=attempts[row.id],
        )
        for row in rows
    ]
