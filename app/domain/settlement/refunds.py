"""What an answer about a refund does: post it, or free the money and tell staff."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.breaks.models import BreakKind
from app.domain.breaks.operations import open_break
from app.domain.contributors.models import Account
from app.domain.ledger.models import Code, EntryKind
from app.domain.ledger.operations import BalanceTooLow, post, release_hold
from app.domain.ledger.rules import Line
from app.domain.payment_orders.models import OrderState, PaymentOrder
from app.domain.payment_orders.rules import next_query_at
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.refunds.models import REFUND_STATES, Refund, RefundState
from app.domain.settlement import Effect
from app.domain.subsidies.operations import reverse_opening

ACCOUNT = table_of(Account)
ORDER = table_of(PaymentOrder)
REFUND = table_of(Refund)

_REFUND_AND_ORDER = select(REFUND, ORDER.c.channel).join(ORDER, ORDER.c.id == REFUND.c.order_id)


def apply_refund(session: Session, *, channel: str, outcome: Outcome, now: datetime) -> Effect:
    """Apply what `channel` says of the refund under `outcome.number`.

    Success posts it, once; a definite failure frees the money and tells staff. Anything else
    leaves it open, to be asked about again. Late truth (given back although it had ended
    otherwise, or failed after all) moves nothing and tells staff.
    """
    refund = session.execute(
        _REFUND_AND_ORDER.where(
            REFUND.c.refund_no == outcome.number, ORDER.c.channel == channel
        ).with_for_update()
    ).one_or_none()
    if refund is None:
        open_break(
            session,
            kind=BreakKind.UNKNOWN_REFUND,
            channel=channel,
            number=outcome.number,
            found_fen=outcome.amount_fen,
            reference=outcome.reference,
            now=now,
        )
        return Effect.MISMATCH
    if outcome.kind is OutcomeKind.SUCCEEDED:
        return _finish(session, refund, outcome, now=now)
    if outcome.kind is OutcomeKind.FAILED and outcome.reason is not Reason.NOT_FOUND:
        return _fail(session, refund, outcome, now=now)
    target = RefundState.PROCESSING if outcome.kind is OutcomeKind.ACCEPTED else RefundState.UNKNOWN
    _move(
        session,
        refund,
        target,
        outcome,
        next_query_at=next_query_at(now, query_count=refund.query_count),
    )
    return Effect.NOTHING


def _finish(session: Session, refund: Row[Any], outcome: Outcome, *, now: datetime) -> Effect:
    if outcome.amount_fen is not None and outcome.amount_fen != refund.amount_fen:
        _break(session, BreakKind.AMOUNT_MISMATCH, refund, outcome, now=now)
        return Effect.MISMATCH
    if refund.state is RefundState.SUCCEEDED:
        return Effect.DUPLICATE
    if not _move(session, refund, RefundState.SUCCEEDED, outcome, ended_at=now, next_query_at=None):
        # Its money is free again, or was never released: only people can tell what to do.
        _break(session, BreakKind.LATE_REFUND, refund, outcome, now=now)
        return Effect.MISMATCH
    release_hold(session, hold_key=f"refund:{refund.refund_no}")
    post(
        session,
        posting_key=f"refund:{refund.refund_no}",
        kind=EntryKind.DEPOSIT_REFUND,
        memo="缴存退款",
        lines=[
            Line(Code.CONTRIBUTORS, refund.amount_fen, account_id=refund.account_id),
            Line(Code.CHANNEL_CLEARING, -refund.amount_fen, channel=refund.channel),
        ],
        now=now,
    )
    rows_changed(
        session,
        update(ORDER)
        .where(ORDER.c.id == refund.order_id)
        .values(refunded_fen=ORDER.c.refunded_fen + refund.amount_fen),
    )
    if _nothing_deposited(session, refund.account_id):
        _take_opening_subsidy_back(session, refund, outcome, now=now)
    return Effect.REFUNDED


def _nothing_deposited(session: Session, account_id: int) -> bool:
    net = session.scalar(
        select(func.coalesce(func.sum(ORDER.c.amount_fen - ORDER.c.refunded_fen), 0)).where(
            ORDER.c.account_id == account_id, ORDER.c.state == OrderState.SUCCEEDED
        )
    )
    return not net


def _take_opening_subsidy_back(
    session: Session, refund: Row[Any], outcome: Outcome, *, now: datetime
) -> None:
    try:
        reverse_opening(session, account_id=refund.account_id, now=now)
    except BalanceTooLow:
        # It is checked before anything is written; the refund itself stands.
        _break(session, BreakKind.SUBSIDY_NOT_REVERSED, refund, outcome, now=now)
        return
    # The next deposit is a first one again, and earns the subsidy anew.
    rows_changed(
        session,
        update(ACCOUNT).where(ACCOUNT.c.id == refund.account_id).values(first_deposit_on=None),
    )


def _fail(session: Session, refund: Row[Any], outcome: Outcome, *, now: datetime) -> Effect:
    if refund.state is RefundState.SUCCEEDED:
        # Posted as given back, and now it came back to the merchant's account.
        _break(session, BreakKind.REFUND_FAILED, refund, outcome, now=now)
        return Effect.MISMATCH
    if not _move(session, refund, RefundState.FAILED, outcome, ended_at=now, next_query_at=None):
        return Effect.NOTHING
    release_hold(session, hold_key=f"refund:{refund.refund_no}")
    rows_changed(
        session,
        update(ORDER)
        .where(ORDER.c.id == refund.order_id)
        .values(refund_reserved_fen=ORDER.c.refund_reserved_fen - refund.amount_fen),
    )
    _break(session, BreakKind.REFUND_FAILED, refund, outcome, now=now)
    return Effect.REFUND_FAILED


def _move(
    session: Session, refund: Row[Any], target: RefundState, outcome: Outcome, **values: Any
) -> bool:
    # A refund still in process may be told so again: that only sets the next question's time.
    sources = {*REFUND_STATES.sources_of(target), *({target} - _ENDED)}
    return (
        rows_changed(
            session,
            update(REFUND)
            .where(REFUND.c.id == refund.id, REFUND.c.state.in_(sources))
            .values(
                state=target,
                raw_code=outcome.raw_code or None,
                channel_reference=outcome.reference or refund.channel_reference,
                **values,
            ),
        )
        == 1
    )


_ENDED = {RefundState.SUCCEEDED, RefundState.FAILED, RefundState.REJECTED}


def _break(
    session: Session, kind: BreakKind, refund: Row[Any], outcome: Outcome, *, now: datetime
) -> None:
    open_break(
        session,
        kind=kind,
        channel=refund.channel,
        number=refund.refund_no,
        expected_fen=refund.amount_fen,
        found_fen=outcome.amount_fen,
        now=now,
        reference=outcome.reference,
        raw_code=outcome.raw_code,
    )
