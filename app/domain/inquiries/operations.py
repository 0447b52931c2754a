"""Asking channels about what is undecided: lost callbacks, expired orders, refunds under way.

Each thing is claimed by pushing its next question into the future (a conditional update, so two
processes never ask for the same one), then asked about with no transaction open, then settled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, Table, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.breaks.models import BreakKind
from app.domain.breaks.operations import open_break
from app.domain.inquiries.debits import resolve_debit
from app.domain.inquiries.queries import is_due
from app.domain.payment_orders.models import OPEN_STATES, ORDER_STATES, OrderState, PaymentOrder
from app.domain.payment_orders.rules import (
    BATCH_QUERY_EVERY,
    REFUND_UNDECIDED_AFTER,
    UNDECIDED_AFTER,
    next_query_at,
)
from app.domain.ports import Ports
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import PhonePayments, RefundRequest
from app.domain.refunds.models import IN_FLIGHT, Refund, RefundState
from app.domain.refunds.operations import approve_refund
from app.domain.settlement import Effect
from app.domain.settlement.payments import apply_close, apply_payment
from app.domain.settlement.refunds import apply_refund

ORDER = table_of(PaymentOrder)
REFUND = table_of(Refund)

log = logging.getLogger(__name__)

_NOT_PAID = {Reason.NOT_PAID, Reason.NOT_FOUND}


def resolve_orders(ports: Ports, *, limit: int = 200) -> dict[str, int]:
    """Ask about every open order whose time has come, debits too; close what expired unpaid.

    Returns: how many orders ended in which effect, or in `error` for trouble of our own.
    """
    return _resolve_due(ports, ORDER, OPEN_STATES, _resolve_order, limit=limit)


def resolve_refunds(ports: Ports, *, limit: int = 200) -> dict[str, int]:
    """Send or ask about every refund under way whose time has come.

    Returns: how many refunds ended in which effect, or in `error` for trouble of our own.
    """
    return _resolve_due(ports, REFUND, IN_FLIGHT, _resolve_refund, limit=limit)


def release_refund(ports: Ports, *, refund_no: str, checker_id: int, note: str) -> Effect:
    """Release a refund as the second person and send it.

    Raises:
        NotFound, Conflict, SamePersonTwice, AccountFrozen: see `approve_refund`.
    """

    def approve(session: Session) -> Row[Any]:
        approve_refund(
            session, refund_no=refund_no, checker_id=checker_id, note=note, now=ports.now()
        )
        return session.execute(select(REFUND).where(REFUND.c.refund_no == refund_no)).one()

    return _resolve_refund(ports, ports.transact(approve))


def _resolve_due(
    ports: Ports,
    table: Table,
    states: tuple[Any, ...],
    resolve: Callable[[Ports, Row[Any]], Effect],
    *,
    limit: int,
) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in _due(ports, table, states, limit=limit):
        try:
            claimed = _claim(ports, table, row)
            if claimed is None:
                continue
            effect: str = resolve(ports, claimed)
        except Exception:
            # Its claim has put off the next question; the others must not wait for it.
            log.exception("inquiry failed", extra={"table": table.name, "row_id": row.id})
            effect = "error"
        counts[effect] = counts.get(effect, 0) + 1
    return counts


def _resolve_order(ports: Ports, order: Row[Any]) -> Effect:
    is_debit = order.mandate_id is not None
    effect = resolve_debit(ports, order) if is_debit else _resolve_payment(ports, order)
    if effect is Effect.NOTHING and ports.now() >= order.expires_at + UNDECIDED_AFTER:
        _tell_staff(ports, channel=order.channel, number=order.order_no, fen=order.amount_fen)
    return effect


def _resolve_payment(ports: Ports, order: Row[Any]) -> Effect:
    channel = ports.channels.paying[order.channel]
    outcome = channel.query_payment(order.order_no)
    effect = _apply_payment(ports, order, outcome)
    unpaid = outcome.reason in _NOT_PAID and outcome.kind is not OutcomeKind.UNKNOWN
    if effect is Effect.NOTHING and unpaid and ports.now() >= order.expires_at:
        effect = _close_order(ports, order, channel)
    return effect


def _close_order(ports: Ports, order: Row[Any], channel: PhonePayments) -> Effect:
    if not ports.transact(lambda session: _start_closing(session, order.id)):
        return Effect.NOTHING
    closed = channel.close_payment(order.order_no)
    if closed.reason is Reason.ALREADY_PAID:
        # The payer won the race: take the money in now, not at the next question.
        return _apply_payment(ports, order, channel.query_payment(order.order_no))
    return ports.transact(
        lambda session: apply_close(session, channel=order.channel, outcome=closed, now=ports.now())
    )


def _apply_payment(ports: Ports, order: Row[Any], outcome: Outcome) -> Effect:
    return ports.transact(
        lambda session: apply_payment(
            session, channel=order.channel, outcome=outcome, now=ports.now()
        )
    )


def _start_closing(session: Session, order_id: int) -> bool:
    sources = {*ORDER_STATES.sources_of(OrderState.CLOSING), OrderState.CLOSING}
    return (
        rows_changed(
            session,
            update(ORDER)
            .where(ORDER.c.id == order_id, ORDER.c.state.in_(sources))
            .values(state=OrderState.CLOSING),
        )
        == 1
    )


def _resolve_refund(ports: Ports, refund: Row[Any]) -> Effect:
    order = ports.read(
        lambda session: session.execute(select(ORDER).where(ORDER.c.id == refund.order_id)).one()
    )
    channel = ports.channels.refunding[order.channel]
    request = RefundRequest(
        order_no=order.order_no,
        refund_no=refund.refund_no,
        amount_fen=refund.amount_fen,
        total_fen=order.amount_fen,
        reason="缴存退款",
    )
    must_send = refund.state is RefundState.SENDING
    if not must_send:
        outcome = channel.query_refund(order_no=order.order_no, refund_no=refund.refund_no)
        # It never arrived. Sending it again under the same number is safe.
        must_send = outcome.kind is OutcomeKind.FAILED and outcome.reason is Reason.NOT_FOUND
    if must_send:
        outcome = channel.refund(request)

    def apply(session: Session) -> Effect:
        answer = outcome
        if must_send and outcome.kind is OutcomeKind.FAILED and _sent_by_others(session, refund):
            # Ours was refused, theirs may have been taken: only a later query can tell.
            answer = replace(outcome, kind=OutcomeKind.UNKNOWN)
        return apply_refund(session, channel=order.channel, outcome=answer, now=ports.now())

    effect = ports.transact(apply)
    if effect is Effect.NOTHING and ports.now() >= refund.decided_at + REFUND_UNDECIDED_AFTER:
        _tell_staff(ports, channel=order.channel, number=refund.refund_no, fen=refund.amount_fen)
    return effect


def _sent_by_others(session: Session, refund: Row[Any]) -> bool:
    """Tell whether someone has asked about the refund since it was claimed, or it was accepted."""
    now = session.execute(
        select(REFUND.c.query_count, REFUND.c.state)
        .where(REFUND.c.id == refund.id)
        .with_for_update()
    ).one()
    return now.query_count != refund.query_count or now.state is RefundState.PROCESSING


def _tell_staff(ports: Ports, *, channel: str, number: str, fen: int) -> None:
    ports.transact(
        lambda session: open_break(
            session,
            kind=BreakKind.UNDECIDED,
            channel=channel,
            number=number,
            expected_fen=fen,
            now=ports.now(),
        )
    )


def _due(ports: Ports, table: Table, states: tuple[Any, ...], *, limit: int) -> list[Row[Any]]:
    due = is_due(table, states, now=ports.now())
    # A file of debits that is overdue must not keep waiting who stands there with a phone.
    last = [table.c.batch_id.is_not(None)] if table is ORDER else []
    query = select(table).where(due).order_by(*last, table.c.next_query_at).limit(limit)
    return ports.read(lambda session: list(session.execute(query)))


def _claim(ports: Ports, table: Table, row: Row[Any]) -> Row[Any] | None:
    if table is ORDER and row.batch_id is not None:
        later = ports.now() + BATCH_QUERY_EVERY
    else:
        later = next_query_at(
            ports.now(),
            query_count=row.query_count + 1,
            expires_at=row.expires_at if table is ORDER else None,
        )

    def claim(session: Session) -> Row[Any] | None:
        ports.fence(session)
        claimed = rows_changed(
            session,
            update(table)
            .where(table.c.id == row.id, table.c.next_query_at == row.next_query_at)
            .values(next_query_at=later, query_count=table.c.query_count + 1),
        )
        if claimed != 1:
            return None
        return session.execute(select(table).where(table.c.id == row.id)).one()

    return ports.transact(claim)
