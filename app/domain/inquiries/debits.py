"""Asking what became of a debit: the answer was lost, is still to come, or it was never sent."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.deposits.operations import DESCRIPTION
from app.domain.mandates.models import Mandate
from app.domain.mandates.rules import MandateState
from app.domain.ports import Ports
from app.domain.ports.debits import DebitRequest, Debits
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.settlement import Effect
from app.domain.settlement.debits import note_submitted
from app.domain.settlement.payments import apply_payment

MANDATE = table_of(Mandate)


def resolve_debit(ports: Ports, order: Row[Any]) -> Effect:
    """Ask about a claimed attempt, and apply the answer.

    One that the channel does not know never arrived: we stopped between storing and sending, or the
    message was lost. The same number with the same content is sent again, which is never a second
    debit; never is another number tried while this one is open. One that goes out in a file is
    never sent alone.
    """
    if order.batch_id is not None:
        return _resolve_line(ports, order)
    channel = ports.channels.debiting[order.channel]
    outcome = channel.query_debit(order.order_no)
    never_arrived = outcome.kind is OutcomeKind.FAILED and outcome.reason is Reason.NOT_FOUND
    sent = False
    if never_arrived and ports.now() < order.expires_at:
        again = _send_again(ports, order, channel)
        sent, outcome = again is not None, again or outcome
    under_way = outcome.kind is OutcomeKind.ACCEPTED or (
        sent and outcome.kind is OutcomeKind.UNKNOWN
    )

    def apply(session: Session) -> Effect:
        if under_way:
            return note_submitted(session, outcome, now=ports.now(), query_count=order.query_count)
        return apply_payment(session, channel=order.channel, outcome=outcome, now=ports.now())

    return ports.transact(apply)


def _resolve_line(ports: Ports, order: Row[Any]) -> Effect:
    """Ask about a debit of a batch, where the bank has a gateway too: only an end counts.

    Not found says nothing: its file may be on its way, or lie at the bank unread.
    """
    channel = ports.channels.debiting.get(order.channel)
    if channel is None:
        return Effect.NOTHING
    outcome = channel.query_debit(order.order_no)
    if outcome.kind not in {OutcomeKind.SUCCEEDED, OutcomeKind.FAILED}:
        return Effect.NOTHING
    return ports.transact(
        lambda session: apply_payment(
            session, channel=order.channel, outcome=outcome, now=ports.now()
        )
    )


def _send_again(ports: Ports, order: Row[Any], channel: Debits) -> Outcome | None:
    """Send a debit under its own number; None if its mandate may not debit any more."""
    reference = ports.read(lambda session: _reference_of(session, order.mandate_id))
    if reference is None:
        return None
    return channel.submit_debit(
        DebitRequest(
            order_no=order.order_no,
            amount_fen=order.amount_fen,
            description=DESCRIPTION,
            mandate_reference=reference,
        )
    )


def _reference_of(session: Session, mandate_id: int) -> str | None:
    return session.scalar(
        select(MANDATE.c.reference).where(
            MANDATE.c.id == mandate_id, MANDATE.c.state == MandateState.ACTIVE
        )
    )
