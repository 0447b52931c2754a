"""What an answer about a payment does: credit, suspense, break or close."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.breaks.models import BreakKind
from app.domain.breaks.operations import open_break
from app.domain.calendar import business_day, month_of
from app.domain.contributors.models import Account, AccountStatus
from app.domain.ledger.models import Code, EntryKind, JournalEntry
from app.domain.ledger.operations import post
from app.domain.ledger.rules import Line
from app.domain.payment_orders.models import ORDER_STATES, OrderState, PaymentOrder
from app.domain.ports import Outcome, OutcomeKind, Reason
from app.domain.settlement import Effect
from app.domain.subsidies.operations import grant_opening

ACCOUNT = table_of(Account)
ORDER = table_of(PaymentOrder)
ENTRY = table_of(JournalEntry)

_ORDER_AND_ACCOUNT: Select[Any] = select(
    ORDER.c.id,
    ORDER.c.order_no,
    ORDER.c.account_id,
    ORDER.c.channel,
    ORDER.c.amount_fen,
    ORDER.c.state,
    ORDER.c.channel_reference,
    ACCOUNT.c.contributor_id,
    ACCOUNT.c.status,
    ACCOUNT.c.first_deposit_on,
).join(ACCOUNT, ACCOUNT.c.id == ORDER.c.account_id)


def apply_payment(session: Session, *, channel: str, outcome: Outcome, now: datetime) -> Effect:
    """Apply what `channel` says of a payment under `outcome.number`.

    A success credits the order's account once. It goes to suspense instead when the order is
    unknown, was closed before, or belongs to a closed account; it only opens a break when the
    amount is not the order's. A definite failure closes the order.
    """
    # Locked: a close that commits between our reading and our writing would make the payment
    # look like a repeat, and a refund of the last deposit would hide that this is a first one.
    order = session.execute(
        _ORDER_AND_ACCOUNT.where(
            ORDER.c.order_no == outcome.number, ORDER.c.channel == channel
        ).with_for_update()
    ).one_or_none()
    if outcome.kind is OutcomeKind.SUCCEEDED:
        if order is None:
            return _receive_unknown_order(session, channel=channel, outcome=outcome, now=now)
        return _receive_payment(session, order, outcome, now=now)
    if order is not None and outcome.kind is OutcomeKind.FAILED:
        return _end_unpaid(session, order, outcome, now=now)
    return Effect.NOTHING


def apply_close(session: Session, *, channel: str, outcome: Outcome, now: datetime) -> Effect:
    """Apply the answer to closing an order: closed or never known there ends it unpaid."""
    refused_as_ended = outcome.kind is OutcomeKind.FAILED and outcome.reason in {
        Reason.CLOSED,
        Reason.NOT_FOUND,
    }
    if outcome.kind is not OutcomeKind.SUCCEEDED and not refused_as_ended:
        return Effect.NOTHING
    return _move_order(
        session,
        order_no=outcome.number,
        channel=channel,
        target=OrderState.CLOSED,
        raw_code=outcome.raw_code or None,
        ended_at=now,
        next_query_at=None,
    )


def _receive_payment(
    session: Session, order: Row[Any], outcome: Outcome, *, now: datetime
) -> Effect:
    if outcome.amount_fen != order.amount_fen:
        _break(session, BreakKind.AMOUNT_MISMATCH, order, outcome, now=now)
        return Effect.MISMATCH
    if order.state in {OrderState.SUCCEEDED, OrderState.IN_SUSPENSE}:
        if outcome.reference and outcome.reference != order.channel_reference:
            _break(session, BreakKind.PAID_TWICE, order, outcome, now=now)
        return Effect.DUPLICATE
    late = order.state in {OrderState.CLOSED, OrderState.FAILED}
    if not late and order.status is not AccountStatus.CLOSED:
        return _credit(session, order, outcome, now=now)
    kind = BreakKind.LATE_PAYMENT if late else BreakKind.ACCOUNT_CLOSED
    _break(session, kind, order, outcome, now=now)
    _take_money(session, order, outcome, OrderState.IN_SUSPENSE, now=now)
    _post_suspense(
        session,
        channel=order.channel,
        key=f"suspense:{order.order_no}",
        amount_fen=order.amount_fen,
        now=now,
    )
    return Effect.SUSPENSE


def _credit(session: Session, order: Row[Any], outcome: Outcome, *, now: datetime) -> Effect:
    today = business_day(now)
    _take_money(
        session,
        order,
        outcome,
        OrderState.SUCCEEDED,
        now=now,
        credited_on=today,
        contribution_month=month_of(today),
    )
    post(
        session,
        posting_key=f"deposit:{order.order_no}",
        kind=EntryKind.DEPOSIT,
        memo="灵活缴存",
        lines=[
            Line(Code.CHANNEL_CLEARING, order.amount_fen, channel=order.channel),
            Line(Code.CONTRIBUTORS, -order.amount_fen, account_id=order.account_id),
        ],
        now=now,
        value_date=business_day(outcome.occurred_at) if outcome.occurred_at else None,
    )
    if order.first_deposit_on is None:
        rows_changed(
            session,
            update(ACCOUNT).where(ACCOUNT.c.id == order.account_id).values(first_deposit_on=today),
        )
        grant_opening(
            session, account_id=order.account_id, contributor_id=order.contributor_id, now=now
        )
    return Effect.CREDITED


def _take_money(
    session: Session,
    order: Row[Any],
    outcome: Outcome,
    target: OrderState,
    *,
    now: datetime,
    **values: Any,
) -> None:
    moved = rows_changed(
        session,
        update(ORDER)
        .where(ORDER.c.id == order.id, ORDER.c.state.in_(ORDER_STATES.sources_of(target)))
        .values(
            state=target,
            channel_reference=outcome.reference,
            paid_at=outcome.occurred_at or now,
            ended_at=now,
            next_query_at=None,
            raw_code=outcome.raw_code or None,
            **values,
        ),
    )
    assert moved == 1, f"{order.order_no} is locked as {order.state} and did not move"


def _receive_unknown_order(
    session: Session, *, channel: str, outcome: Outcome, now: datetime
) -> Effect:
    key = f"suspense:{channel}:{outcome.reference or outcome.number}"
    posted = session.scalar(select(ENTRY.c.id).where(ENTRY.c.posting_key == key))
    if posted is not None:
        return Effect.DUPLICATE
    open_break(
        session,
        kind=BreakKind.UNKNOWN_ORDER,
        channel=channel,
        number=outcome.number,
        found_fen=outcome.amount_fen,
        now=now,
        reference=outcome.reference,
    )
    if not outcome.amount_fen:
        return Effect.MISMATCH
    _post_suspense(session, channel=channel, key=key, amount_fen=outcome.amount_fen, now=now)
    return Effect.SUSPENSE


def _post_suspense(
    session: Session, *, channel: str, key: str, amount_fen: int, now: datetime
) -> None:
    post(
        session,
        posting_key=key,
        kind=EntryKind.SUSPENSE_RECEIPT,
        memo="待查暂收",
        lines=[
            Line(Code.CHANNEL_CLEARING, amount_fen, channel=channel),
            Line(Code.SUSPENSE_RECEIPTS, -amount_fen, channel=channel),
        ],
        now=now,
    )


def _end_unpaid(session: Session, order: Row[Any], outcome: Outcome, *, now: datetime) -> Effect:
    if outcome.reason is not Reason.CLOSED:
        return Effect.NOTHING
    return _move_order(
        session,
        order_no=order.order_no,
        channel=order.channel,
        target=OrderState.CLOSED,
        raw_code=outcome.raw_code or None,
        ended_at=now,
        next_query_at=None,
    )


def _move_order(
    session: Session, *, order_no: str, channel: str, target: OrderState, **values: Any
) -> Effect:
    moved = rows_changed(
        session,
        update(ORDER)
        .where(
            ORDER.c.order_no == order_no,
            ORDER.c.channel == channel,
            ORDER.c.state.in_(ORDER_STATES.sources_of(target)),
        )
        .values(state=target, **values),
    )
    return Effect.CLOSED if moved else Effect.NOTHING


def _break(
    session: Session, kind: BreakKind, order: Row[Any], outcome: Outcome, *, now: datetime
) -> None:
    open_break(
        session,
        kind=kind,
        channel=order.channel,
        number=outcome.number,
        expected_fen=order.amount_fen,
        found_fen=outcome.amount_fen,
        now=now,
        reference=outcome.reference,
        raw_code=outcome.raw_code,
    )
