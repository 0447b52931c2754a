"""What an answer about a payment does: credit, suspense, break or close."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Row,
    Select,
    Update,
    bindparam,
    case,
    func,
    select,
    update,
)
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.breaks.models import BreakKind
from app.domain.breaks.operations import open_break
from app.domain.calendar import business_day, month_of
from app.domain.contributors.models import Account, AccountStatus
from app.domain.debits.moves import Fulfilment, end, fulfil
from app.domain.debits.rules import EndReason, InstructionState
from app.domain.ledger.models import Code, EntryKind, JournalEntry
from app.domain.ledger.operations import Posting, post, post_all
from app.domain.ledger.rules import Line
from app.domain.payment_orders.models import OPEN_STATES, ORDER_STATES, OrderState, PaymentOrder
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.settlement import Effect
from app.domain.settlement.debits import fail_debits
from app.domain.subsidies.operations import grant_opening

ACCOUNT = table_of(Account)
ORDER = table_of(PaymentOrder)
ENTRY = table_of(JournalEntry)

# Built once: to build a statement costs SQLAlchemy several times what it costs to run it.
_ORDER_AND_ACCOUNT: Select[Any] = select(
    ORDER.c.id,
    ORDER.c.order_no,
    ORDER.c.account_id,
    ORDER.c.channel,
    ORDER.c.amount_fen,
    ORDER.c.state,
    ORDER.c.channel_reference,
    ORDER.c.instruction_id,
    ORDER.c.mandate_id,
    ACCOUNT.c.contributor_id,
    ACCOUNT.c.status,
    ACCOUNT.c.first_deposit_on,
).join(ACCOUNT, ACCOUNT.c.id == ORDER.c.account_id)
# Locked: a close that commits between our reading and our writing would make the payment look
# like a repeat, and a refund of the last deposit would hide that this is a first one.
_LOCK_ORDER = _ORDER_AND_ACCOUNT.where(
    ORDER.c.order_no == bindparam("number"), ORDER.c.channel == bindparam("channel")
).with_for_update()
_LOCK_FREE_ORDERS = _ORDER_AND_ACCOUNT.where(
    ORDER.c.order_no.in_(bindparam("numbers", expanding=True))
).with_for_update(skip_locked=True)


@lru_cache(maxsize=64)
def _ending(target: OrderState, count: int) -> Update:
    """Build the statement that ends so many paid orders, the n-th with values that end in `_n`."""
    ids: list[BindParameter[int]] = [bindparam(f"id_{n}") for n in range(count)]

    def own(column: str) -> ColumnElement[Any]:
        kind = ORDER.c[column].type
        values = {key: bindparam(f"{column}_{n}", type_=kind) for n, key in enumerate(ids)}
        return case(values, value=ORDER.c.id)

    return (
        update(ORDER)
        .where(ORDER.c.id.in_(ids), ORDER.c.state.in_(ORDER_STATES.sources_of(target)))
        .values(
            state=target,
            channel_reference=own("channel_reference"),
            paid_at=own("paid_at"),
            ended_at=bindparam("ended"),
            next_query_at=None,
            raw_code=own("raw_code"),
            credited_on=bindparam("day"),
            # Where it fulfils an instruction, it counts for the instruction's period.
            contribution_month=func.coalesce(ORDER.c.contribution_month, bindparam("month")),
        )
    )


def apply_payment(session: Session, *, channel: str, outcome: Outcome, now: datetime) -> Effect:
    """Apply what `channel` says of a payment under `outcome.number`.

    A success credits the order's account once. It goes to suspense instead when the order is
    unknown, was closed before, or belongs to a closed account; it only opens a break when the
    amount is not the order's. A definite failure closes the order, and one of a debit puts its
    instruction to its next day.
    """
    key = {"number": outcome.number, "channel": channel}
    order = session.execute(_LOCK_ORDER, key).one_or_none()
    if outcome.kind is OutcomeKind.SUCCEEDED:
        if order is None:
            return _receive_unknown_order(session, channel=channel, outcome=outcome, now=now)
        return _receive_payment(session, order, outcome, now=now)
    if order is not None and outcome.kind is OutcomeKind.FAILED:
        return _end_unpaid(session, order, outcome, now=now)
    return Effect.NOTHING


def credit_plain_payments(
    session: Session, answers: Sequence[tuple[str, Outcome]], *, now: datetime
) -> list[Effect | None]:
    """Credit several payments with few statements, as far as there is nothing to decide.

    Args:
        answers: the channel and what it says, a success.
    Returns: for each answer CREDITED, or None: it is left to `apply_payment`, because the order is
        unknown, not open, of another amount or channel, here twice, its account's first deposit,
        or locked by somebody else, for whom the others shall not wait.
    """
    numbers = [outcome.number for _, outcome in answers]
    rows = session.execute(_LOCK_FREE_ORDERS, {"numbers": numbers})
    orders = {order.order_no: order for order in rows}
    plain: dict[int, tuple[Row[Any], Outcome]] = {}
    for position, (channel, outcome) in enumerate(answers):
        order = orders.pop(outcome.number, None)
        if order is not None and _is_plain(order, channel, outcome):
            plain[position] = order, outcome
    if plain:
        _credit_all(session, list(plain.values()), now=now)
    return [Effect.CREDITED if position in plain else None for position in range(len(answers))]


def fail_plain_debits(
    session: Session, answers: Sequence[tuple[str, Outcome]], *, now: datetime
) -> list[Effect | None]:
    """End several refused debits with few statements, as `credit_plain_payments` credits several.

    Args:
        answers: the channel and what it says, a failure.
    Returns: for each answer its effect, or None: it is left to `apply_payment`.
    """
    numbers = [outcome.number for _, outcome in answers]
    rows = session.execute(_LOCK_FREE_ORDERS, {"numbers": numbers})
    orders = {order.order_no: order for order in rows if order.mandate_id is not None}
    plain: dict[int, tuple[Row[Any], Outcome]] = {}
    for position, (channel, outcome) in enumerate(answers):
        order = orders.pop(outcome.number, None)
        if order is not None and order.channel == channel:
            plain[position] = order, outcome
    effects = iter(fail_debits(session, list(plain.values()), now=now) if plain else [])
    return [next(effects) if position in plain else None for position in range(len(answers))]


def _is_plain(order: Row[Any], channel: str, outcome: Outcome) -> bool:
    return (
        order.channel == channel
        and order.amount_fen == outcome.amount_fen
        and order.state in OPEN_STATES
        and order.status is not AccountStatus.CLOSED
        and order.first_deposit_on is not None
    )


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
    # Nobody can have paid a debit again by mistake: it is credited however late.
    late = order.state in {OrderState.CLOSED, OrderState.FAILED} and order.mandate_id is None
    if not late and order.status is not AccountStatus.CLOSED:
        return _credit(session, order, outcome, now=now)
    kind = BreakKind.LATE_PAYMENT if late else BreakKind.ACCOUNT_CLOSED
    _break(session, kind, order, outcome, now=now)
    _take_all(session, [(order, outcome)], OrderState.IN_SUSPENSE, now=now)
    if order.mandate_id is not None:
        end(
            session,
            [order.instruction_id],
            InstructionState.CANCELLED,
            EndReason.ACCOUNT_NOT_USABLE,
            now=now,
        )
    _post_suspense(
        session,
        channel=order.channel,
        key=f"suspense:{order.order_no}",
        amount_fen=order.amount_fen,
        now=now,
    )
    return Effect.SUSPENSE


def _credit(session: Session, order: Row[Any], outcome: Outcome, *, now: datetime) -> Effect:
    _credit_all(session, [(order, outcome)], now=now)
    if order.first_deposit_on is None:
        rows_changed(
            session,
            update(ACCOUNT)
            .where(ACCOUNT.c.id == order.account_id)
            .values(first_deposit_on=business_day(now)),
        )
        grant_opening(
            session, account_id=order.account_id, contributor_id=order.contributor_id, now=now
        )
    return Effect.CREDITED


def _credit_all(
    session: Session, payments: Sequence[tuple[Row[Any], Outcome]], *, now: datetime
) -> None:
    _take_all(session, payments, OrderState.SUCCEEDED, now=now, credited_on=business_day(now))
    owed = [(order, outcome) for order, outcome in payments if order.instruction_id is not None]
    if owed:
        fulfil(session, [_fulfilment(order, outcome) for order, outcome in owed], now=now)
    post_all(
        session,
        [
            Posting(
                posting_key=f"deposit:{order.order_no}",
                kind=EntryKind.DEPOSIT,
                memo="灵活缴存",
                lines=[
                    Line(Code.CHANNEL_CLEARING, order.amount_fen, channel=order.channel),
                    Line(Code.CONTRIBUTORS, -order.amount_fen, account_id=order.account_id),
                ],
                value_date=business_day(outcome.occurred_at) if outcome.occurred_at else None,
            )
            for order, outcome in payments
        ],
        now=now,
    )


def _fulfilment(order: Row[Any], outcome: Outcome) -> Fulfilment:
    return Fulfilment(
        instruction_id=order.instruction_id,
        order_no=order.order_no,
        channel=order.channel,
        amount_fen=order.amount_fen,
        reference=outcome.reference,
        is_debit=order.mandate_id is not None,
        had_failed=order.state is OrderState.FAILED,
    )


def _take_all(
    session: Session,
    payments: Sequence[tuple[Row[Any], Outcome]],
    target: OrderState,
    *,
    now: datetime,
    credited_on: date | None = None,
) -> None:
    values: dict[str, Any] = {
        "ended": now,
        "day": credited_on,
        "month": month_of(credited_on) if credited_on else None,
    }
    for n, (order, outcome) in enumerate(payments):
        values[f"id_{n}"] = order.id
        values[f"channel_reference_{n}"] = outcome.reference
        values[f"paid_at_{n}"] = outcome.occurred_at or now
        values[f"raw_code_{n}"] = outcome.raw_code or None
    moved = rows_changed(session, _ending(target, len(payments)), values)
    assert moved == len(payments), f"of {len(payments)} locked orders, {moved} moved"


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
    if order.mandate_id is not None:
        return fail_debits(session, [(order, outcome)], now=now)[0]
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
